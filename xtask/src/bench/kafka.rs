//! Apache Kafka, and its own tools: one KRaft broker from Maven's packages, flushed at every batch.

use super::peer::{self, Peer};
use crate::program::Program;
use crate::workspace;
use anyhow::Context;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Complete on Maven: broker and tools.
pub const VERSION: &str = "4.3.1";
const LOGGER_VERSION: &str = "2.25.4";

/// Where the packages lie, and the Java that runs them.
#[derive(Debug)]
pub struct Kafka {
    java: PathBuf,
    directory: PathBuf,
}

impl Kafka {
    /// Fetches what is missing: about 85 MB, once.
    pub fn fetch() -> anyhow::Result<Self> {
        let java = peer::program("java", "default-jre-headless")?;
        let directory = workspace::cache().join("kafka").join(VERSION);
        let kafka = Self { java, directory };
        if kafka.directory.join("complete").exists() {
            return Ok(kafka);
        }
        let maven = peer::program("mvn", "maven")?;
        std::fs::create_dir_all(&kafka.directory)?;
        std::fs::write(kafka.directory.join("pom.xml"), pom())?;
        println!("fetching Kafka {VERSION}");
        let words = ["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"];
        Program::new(maven).arguments(&words).directory(&kafka.directory).quiet().context("fetch Kafka")?;
        std::fs::write(kafka.directory.join("log4j2.properties"), LOGGER)?;
        std::fs::write(kafka.directory.join("complete"), "")?;
        Ok(kafka)
    }

    fn words(&self, heap: &str) -> Vec<String> {
        let logger = format!("-Dlog4j2.configurationFile={}", self.directory.join("log4j2.properties").display());
        let path = format!("{}/*", self.directory.join("libs").display());
        vec![format!("-Xmx{heap}"), logger, "-Djava.net.preferIPv4Stack=true".into(), "-cp".into(), path]
    }

    /// Runs one of Kafka's tools, by the name of its class.
    pub fn tool(&self, class: &str, words: &[&str]) -> anyhow::Result<String> {
        let name = if class.contains('.') { class.to_owned() } else { format!("org.apache.kafka.tools.{class}") };
        Program::new(&self.java).arguments(&self.words("512m")).arguments(&[name]).arguments(words).quiet()
    }

    /// A broker that syncs every batch before it acknowledges it.
    pub fn start(&self, directory: &Path) -> anyhow::Result<(Peer, SocketAddr)> {
        let (address, controller) = (peer::free_address()?, peer::free_address()?);
        let data = directory.join("data");
        let settings = directory.join("server.properties");
        std::fs::write(&settings, properties(address, controller, &data))?;
        let text = settings.to_str().context("the directory's name is not text")?;
        let id = "4L6g3nShT-eMCtK--X86sw";
        self.tool("kafka.tools.StorageTool", &["format", "-t", id, "-c", text])?;
        let mut command = Command::new(&self.java);
        command.args(["-Xms1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]);
        command.args(self.words("1g")).arg("kafka.Kafka").arg(&settings);
        let peer = Peer::start(command, address, &directory.join("kafka.log"), libc::SIGTERM)?;
        Ok((peer, address))
    }
}

fn properties(address: SocketAddr, controller: SocketAddr, data: &Path) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=PLAINTEXT://{address},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{address}
controller.listener.names=CONTROLLER
log.dirs={}
log.flush.interval.messages=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
num.network.threads=2
num.io.threads=4
",
        data.display()
    )
}

fn pom() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    let dependencies = [
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.apache.kafka", "kafka-tools", VERSION),
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", LOGGER_VERSION),
    ];
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>ballast</groupId><artifactId>peer</artifactId><version>1</version><packaging>pom</packaging>\
         <dependencies>{}</dependencies></project>\n",
        dependencies.concat()
    )
}

const LOGGER: &str = "rootLogger.level = WARN
rootLogger.appenderRef.err.ref = err
appender.err.type = Console
appender.err.name = err
appender.err.target = SYSTEM_ERR
appender.err.layout.type = PatternLayout
appender.err.layout.pattern = %d %p %c{1} %m%n
logger.config.name = org.apache.kafka.common.config
logger.config.level = ERROR
";
