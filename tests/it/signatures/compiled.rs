//! Receivers in Go and in Java, made of the functions that `docs/verify.md` shows.

use std::fs;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tempfile::TempDir;
use tokio::process::Command;

use super::{documented, said};
use crate::support::{clients, receiver::Recorded};

/// Around the functions: a program that reads a request, and a key or a secret in each further line,
/// and prints which of them accept it.
const GO: &str = r#"
package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	next := func() string {
		lines.Scan()
		return lines.Text()
	}
	header := http.Header{}
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
		header.Set(name, next())
	}
	body, err := base64.StdEncoding.DecodeString(next())
	if err != nil {
		panic(err)
	}
	for lines.Scan() {
		key := []string{"whsec_AAAA", lines.Text()}
		if strings.HasPrefix(lines.Text(), "whsec_") {
			fmt.Println(isGenuineV1(header, body, key))
		} else {
			fmt.Println(isGenuine(header, body, key[1:]))
		}
	}
}
"#;

/// The same.
const JAVA: &str = r#"
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.security.*;
import java.security.spec.X509EncodedKeySpec;
import java.time.Instant;
import java.util.*;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Verify {
    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, UTF_8));
        var headers = new HashMap<String, String>();
        for (String name : List.of("webhook-id", "webhook-timestamp", "webhook-signature")) {
            headers.put(name, lines.readLine());
        }
        byte[] body = Base64.getDecoder().decode(lines.readLine());
        for (String key = lines.readLine(); key != null; key = lines.readLine()) {
            System.out.println(key.startsWith("whsec_")
                ? isGenuineV1(headers, body, List.of("whsec_AAAA", key))
                : isGenuine(headers, body, List.of(key)));
        }
    }
"#;

/// The folder with both programs.
pub(super) struct Compiled(TempDir);

impl Compiled {
    pub(super) async fn build() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let write = |name: &str, program: String| {
            let file = folder.path().join(name);
            fs::write(&file, program).expect("it can be written");
            file
        };
        let go = write("verify.go", format!("{GO}\n{}", documented("go")));
        let java = write("Verify.java", format!("{JAVA}\n{}\n}}\n", documented("java")));
        let mut build = Command::new(clients().join("venv/bin/go"));
        build.arg("build").arg("-o").arg(folder.path().join("verify")).arg(go);
        build.env("GOCACHE", clients().join("go-cache")).env("GOTOOLCHAIN", "local");
        said(build, "").await;
        let mut build = Command::new("javac");
        build.arg("-d").arg(folder.path()).arg(java);
        said(build, "").await;
        Self(folder)
    }

    /// Which keys and secrets accept a request, in the opinion of each.
    pub(super) async fn opinions(
        &self,
        request: &Recorded,
        body: &str,
        keys: &[&str],
    ) -> [Vec<bool>; 2] {
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let header = |name| request.header(name).expect("it is sent").to_owned();
        let mut input: Vec<_> = names.into_iter().map(header).collect();
        input.push(BASE64_STANDARD.encode(body));
        input.extend(keys.iter().map(|key| (*key).to_owned()));
        let input = input.join("\n");
        let go = Command::new(self.0.path().join("verify"));
        let mut java = Command::new("java");
        java.arg("-cp").arg(self.0.path()).arg("Verify");
        let (go, java) = tokio::join!(said(go, &input), said(java, &input));
        [go, java].map(|said| said.lines().map(|line| line == "true").collect())
    }
}
