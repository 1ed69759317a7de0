//! An nginx of a test's own, with TLS.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{clients, eventually};

/// It answers 200 over HTTP/2 and HTTP/1.1, and writes a line for each request.
pub(crate) struct Nginx {
    folder: TempDir,
    pub port: u16,
    _process: Child,
}

impl Nginx {
    /// With a log of this format, further `directives` of its server, and further files, which these
    /// name as `{folder}/…`.
    pub(crate) async fn start(log: &str, directives: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("it has an address").port();
        drop(free);
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let made = made.expect("a certificate can be made");
        let path = folder.path().display();
        let directives = directives.replace("{folder}", &path.to_string());
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("it can be written");
        };
        write("cert.pem", &made.cert.pem());
        write("key.pem", &made.signing_key.serialize_pem());
        for (name, text) in files {
            write(name, text);
        }
        write(
            "nginx.conf",
            &format!(
                "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
                 events {{ worker_connections 1024; }}\n\
                 http {{\n\
                 log_format requests '{log}';\n\
                 access_log {path}/access.log requests;\n\
                 client_body_temp_path {path}/b; proxy_temp_path {path}/p;\n\
                 fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
                 server {{\n\
                 listen 127.0.0.1:{port} ssl http2;\n\
                 ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem;\n\
                 {directives}\n\
                 location / {{ return 200 ok; }}\n\
                 }}\n\
                 }}\n"
            ),
        );
        let own = clients().join("nginx");
        let program = if own.exists() { own } else { PathBuf::from("/usr/sbin/nginx") };
        let process = Command::new(program)
            .arg("-c")
            .arg(folder.path().join("nginx.conf"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nginx starts (tests/setup)");
        eventually(async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await).await;
        Self { folder, port, _process: process }
    }

    /// The URL of `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// The certificate that it has.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.file("cert.pem")
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }

    /// The lines of its log.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.file("access.log"));
        log.unwrap_or_default().lines().map(str::to_owned).collect()
    }
}
