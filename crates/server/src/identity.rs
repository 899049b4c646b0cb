//! Who a connection acts as.
//!
//! On a laptop there is one rule: a connection from this machine acts as the user who started the server,
//! whatever user name it sends. Listeners on other addresses need access rules, which are not built; they
//! are refused before they are bound ([`refuse_foreign`]).

use ballast_types::{Call, Caller};
use std::net::SocketAddr;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub caller: Caller,
    pub user: String,
}

impl Identity {
    /// The user of this process, with all groups.
    pub fn of_this_process() -> Self {
        // SAFETY: these calls take nothing and cannot fail.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        let mut caller = Caller::new(uid, gid);
        caller.groups = supplementary_groups().into_iter().filter(|group| *group != gid).collect();
        Self { caller, user: std::env::var("USER").unwrap_or_else(|_| uid.to_string()) }
    }

    /// A call in this user's name.
    pub fn call(&self) -> Call {
        Call::new(self.caller.clone())
    }
}

/// Groups of a process; Linux allows 65,536, users have a few.
const GROUPS_MAX: usize = 65_536;

fn supplementary_groups() -> Vec<u32> {
    let mut groups = vec![0; GROUPS_MAX];
    // SAFETY: the buffer has room for the number of groups that is passed.
    let count = unsafe { libc::getgroups(GROUPS_MAX as libc::c_int, groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(count).unwrap_or(0));
    groups
}

/// Why an address may not be served: anybody who reaches it would act as the user who started the server.
pub fn refuse_foreign(address: SocketAddr) -> Option<String> {
    if address.ip().is_loopback() {
        return None;
    }
    Some(format!(
        "{address} can be reached from other machines, and whoever connects would act as you: access rules are not \
         built yet, so only loopback addresses such as 127.0.0.1:{} are served",
        address.port()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_may_be_served_without_access_rules() {
        let refused = |address: &str| refuse_foreign(address.parse().unwrap()).is_some();
        assert!(!refused("127.0.0.1:1"));
        assert!(!refused("127.8.0.1:1"));
        assert!(!refused("[::1]:1"));
        assert!(refused("0.0.0.0:1"));
        assert!(refused("[::]:1"));
        assert!(refused("192.168.1.2:1"));
    }
}
