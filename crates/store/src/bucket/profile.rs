//! The profile files of the AWS tools, of which `object_store` reads none.
//!
//! Read are static keys, region and endpoint of one profile: `AWS_PROFILE`, else `default`, from
//! `~/.aws/credentials` and then `~/.aws/config` (`AWS_SHARED_CREDENTIALS_FILE` and `AWS_CONFIG_FILE` name others).
//! A profile that gets its keys in another way (single sign-on, a process, another role) is refused by name, with
//! the command that turns it into keys, because silently asking the next source would use somebody else's rights.
//! Format: <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>.

use super::Environment;
use crate::{Error, Result, limits};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What a profile gives.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub keys: Option<Keys>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Profile {
    /// Without the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile")
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The profile that the environment names. `Invalid` if it is named and not there, or gives keys in another way.
pub(super) fn load(environment: &Environment) -> Result<Profile> {
    let file = |variable: &str, usual: &str| {
        let named = environment.get(variable).map(PathBuf::from);
        named.or_else(|| Some(Path::new(environment.get("HOME")?).join(".aws").join(usual)))
    };
    let name = environment.get("AWS_PROFILE").unwrap_or("default");
    let mut sections = BTreeMap::new();
    let (config, credentials) = (file("AWS_CONFIG_FILE", "config"), file("AWS_SHARED_CREDENTIALS_FILE", "credentials"));
    // The credentials file comes last, so that its keys win.
    for path in [config, credentials].into_iter().flatten() {
        for (section, settings) in parse(&read(&path)?) {
            let section = section.strip_prefix("profile ").map(str::trim_start).unwrap_or(&section).to_owned();
            sections.entry(section).or_insert_with(BTreeMap::new).extend(settings);
        }
    }
    match sections.get(name) {
        Some(settings) => understand(name, settings),
        None if environment.get("AWS_PROFILE").is_none() => Ok(Profile::default()),
        None => Err(Error::Invalid(format!(
            "AWS_PROFILE is {name}, and neither ~/.aws/config nor ~/.aws/credentials has it"
        ))),
    }
}

fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    let opened =
        std::fs::File::open(path).and_then(|file| file.take(limits::PROFILE_BYTES_MAX).read_to_string(&mut text));
    match opened {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(text),
        Err(error) => Err(Error::Invalid(format!("{} cannot be read: {error}", path.display()))),
    }
}

/// Sections and their settings. Lines that begin with a blank belong to the setting above and mean nothing to us.
fn parse(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut sections: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    for line in text.lines() {
        if line.starts_with([' ', '\t', '#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            sections.push((name.trim().to_owned(), BTreeMap::new()));
        } else if let (Some((name, value)), Some((_, settings))) = (line.split_once('='), sections.last_mut()) {
            // A comment needs a blank before it: keys may hold these signs.
            let value = [" #", " ;", "\t#", "\t;"].iter().fold(value, |v, sign| v.split(sign).next().unwrap_or(v));
            settings.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    sections
}

fn understand(name: &str, settings: &BTreeMap<String, String>) -> Result<Profile> {
    let get = |key: &str| settings.get(key).filter(|value| !value.is_empty()).cloned();
    let keys = match (get("aws_access_key_id"), get("aws_secret_access_key")) {
        (Some(access_key_id), Some(secret_access_key)) => {
            Some(Keys { access_key_id, secret_access_key, session_token: get("aws_session_token") })
        }
        (None, None) => None,
        _ => return Err(Error::Invalid(format!("the AWS profile {name} has only one of the two keys"))),
    };
    let other_way = ["sso_session", "sso_start_url", "credential_process", "role_arn", "web_identity_token_file"]
        .into_iter()
        .find(|way| settings.contains_key(*way));
    if let (None, Some(way)) = (&keys, other_way) {
        return Err(Error::Unsupported(format!(
            "the AWS profile {name} gets its keys by `{way}`, which Ballast cannot do: run \
             `eval \"$(aws configure export-credentials --profile {name} --format env)\"` and start it again"
        )));
    }
    Ok(Profile { keys, region: get("region"), endpoint: get("endpoint_url") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(config: &str, credentials: &str) -> (tempfile::TempDir, Environment) {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(home.path().join(".aws/config"), config).unwrap();
        std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        let environment = Environment::default().with("HOME", home.path().to_str().unwrap());
        (home, environment)
    }

    const CONFIG: &str = "# mine\n[default]\nregion = eu-west-1\n\n[profile lab]\nregion=us-west-2 # near\nendpoint_url = http://lab:9000\n\
                          s3 =\n  addressing_style = path\n  region = not this\n[profile sso]\nsso_session = corp\nregion = eu-west-1\n";
    const CREDENTIALS: &str = "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = a#b;c=d/e\n[lab]\naws_access_key_id=AKIA2\naws_secret_access_key=s2\naws_session_token=t2\n";

    #[test]
    fn the_default_profile_has_keys_of_one_file_and_region_of_the_other() {
        let (_home, environment) = home(CONFIG, CREDENTIALS);
        let profile = load(&environment).unwrap();
        let keys = profile.keys.unwrap();
        assert_eq!((keys.access_key_id.as_str(), keys.secret_access_key.as_str()), ("AKIA1", "a#b;c=d/e"));
        assert_eq!((profile.region.as_deref(), keys.session_token), (Some("eu-west-1"), None));
    }

    #[test]
    fn a_named_profile_is_taken_and_a_missing_one_refused() {
        let (_home, environment) = home(CONFIG, CREDENTIALS);
        let profile = load(&environment.clone().with("AWS_PROFILE", "lab")).unwrap();
        assert_eq!(
            (profile.region.as_deref(), profile.endpoint.as_deref()),
            (Some("us-west-2"), Some("http://lab:9000"))
        );
        assert_eq!(profile.keys.unwrap().session_token.as_deref(), Some("t2"));
        let error = load(&environment.with("AWS_PROFILE", "gone")).unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }

    #[test]
    fn keys_that_come_another_way_are_refused_with_the_command_that_helps() {
        let (_home, environment) = home(CONFIG, CREDENTIALS);
        let error = load(&environment.with("AWS_PROFILE", "sso")).unwrap_err().to_string();
        assert!(error.contains("sso_session") && error.contains("export-credentials --profile sso"), "{error}");
    }

    #[test]
    fn without_files_there_is_an_empty_profile() {
        assert_eq!(load(&Environment::default()).unwrap(), Profile::default());
    }

    #[test]
    fn a_profile_is_printed_without_its_keys() {
        let (_home, environment) = home(CONFIG, CREDENTIALS);
        let text = format!("{:?} {environment:?}", load(&environment).unwrap());
        assert!(!text.contains("AKIA1") && !text.contains("a#b"), "{text}");
    }
}
