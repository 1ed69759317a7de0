//! A real browser, headless, driven over `WebDriver`: what a user sees and presses.
//!
//! Source: `WebDriver` (W3C); `ChromeDriver`'s `goog/cdp/execute` and `se/log` for what the standard has
//! no command for: colour scheme, phone width, the console.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::SemaphorePermit, time::Instant};

use crate::support::{PATIENCE, clients, eventually, holds, wait_for};

/// Browsers at one time: each takes some hundred megabytes.
static PLACES: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(2);

/// The key of an element's id in answers. Source: `WebDriver`, 12.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A window of a browser of the test's own; closed when dropped, also when the test fails.
pub(crate) struct Browser {
    base_url: String,
    session: String,
    driver: Child,
    client: Client,
    profile: TempDir,
    _place: SemaphorePermit<'static>,
}

/// The conditions under which a page is viewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub width: u32,
    pub scheme: &'static str,
}

/// A page looks like this where nothing else is asked for.
pub(crate) const DESK: Look = Look { width: 1_280, scheme: "light" };

/// The looks in which every page is to be accessible.
pub(crate) const ACCESSIBLE: [Look; 3] =
    [Look { width: 390, scheme: "light" }, Look { width: 1_280, scheme: "dark" }, DESK];

impl Browser {
    /// Opens one that will look at pages of `base_url`.
    pub(crate) async fn open(base_url: &str) -> Self {
        let place = PLACES.acquire().await.expect("it is never closed");
        let profile = tempfile::tempdir().expect("a folder can be made");
        let (driver, port) = driver();
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(PATIENCE).no_proxy().build().expect("a client");
        let mut browser = Self {
            base_url: base_url.to_owned(),
            session: format!("http://127.0.0.1:{port}/session"),
            driver,
            client,
            profile,
            _place: place,
        };
        let opened = browser.call(Method::POST, "", capabilities(browser.profile.path())).await;
        let id = text(&opened, "sessionId");
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    async fn try_call(&self, method: Method, path: &str, body: Value) -> Result<Value, Value> {
        let request = self.client.request(method.clone(), format!("{}{path}", self.session));
        let request = if method == Method::POST { request.body(body.to_string()) } else { request };
        let answer = request.header("content-type", "application/json").send().await;
        let answer = answer.expect("the driver answers").bytes().await.expect("a whole answer");
        let mut answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let value = answer.get_mut("value").map(Value::take).unwrap_or_default();
        if value.get("error").is_some() { Err(value) } else { Ok(value) }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let called = self.try_call(method, path, body).await;
        called.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A command of the Chrome `DevTools` Protocol.
    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.call(Method::POST, "/goog/cdp/execute", body).await
    }

    /// Looks at everything from now on like this.
    pub(crate) async fn look(&self, Look { width, scheme }: Look) {
        let metrics = json!({
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = json!({"name": "prefers-color-scheme", "value": scheme});
        self.devtools("Emulation.setEmulatedMedia", json!({"features": [scheme]})).await;
    }

    /// Runs no script of any page from now on, as where JavaScript is switched off.
    pub(crate) async fn without_scripts(&self) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    }

    /// Goes to a page.
    pub(crate) async fn go(&self, path: &str) {
        let url = format!("{}{path}", self.base_url);
        self.call(Method::POST, "/url", json!({"url": url})).await;
    }

    /// Goes to a page, again and again until a selector finds an element there.
    pub(crate) async fn go_until(&self, path: &str, selector: &str) {
        eventually(async || {
            self.go(path).await;
            holds(self.count(selector).await > 0, format!("{path} has no `{selector}`"))
        })
        .await;
    }

    /// The path and query of the page that is shown.
    pub(crate) async fn path(&self) -> String {
        let url = self.call(Method::GET, "/url", Value::Null).await;
        url.as_str().expect("a URL").trim_start_matches(&self.base_url).to_owned()
    }

    /// The result of a script on the page.
    pub(crate) async fn script(&self, script: &str) -> Value {
        self.call(Method::POST, "/execute/sync", json!({"script": script, "args": []})).await
    }

    /// Checks that the page breaks no rule of axe, light and dark, on a desk and on a phone; scripts
    /// run from then on.
    pub(crate) async fn assert_accessible(&self, page: &str) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({"value": false})).await;
        for look in ACCESSIBLE {
            self.look(look).await;
            assert_eq!(self.violations().await, Vec::<String>::new(), "{page}, {look:?}");
        }
    }

    /// The rules of axe that the page breaks, each with the first elements that break it.
    ///
    /// Source: axe-core's API, `axe.run`; its rules are those of WCAG 2.2 A and AA, and its best
    /// practices.
    pub(crate) async fn violations(&self) -> Vec<String> {
        static AXE: LazyLock<String> = LazyLock::new(|| {
            let file = clients().join("node_modules/axe-core/axe.min.js");
            let missing = "axe-core is not there: run `make test`, which installs it";
            fs::read_to_string(file).expect(missing)
        });
        let is_there = self.script("return window.axe !== undefined").await;
        if is_there == false {
            self.script(&AXE).await;
        }
        let run = "const end = arguments[arguments.length - 1]; \
                   axe.run(document, {preload: false, resultTypes: ['violations']}) \
                   .then((found) => end(found.violations.map((rule) => `${rule.id}: ${rule.help}: ` \
                   + rule.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' | '))), \
                   (error) => end([String(error)]))";
        let run = json!({"script": run, "args": []});
        let found = self.call(Method::POST, "/execute/async", run).await;
        let found = found.as_array().expect("a list of violations").iter();
        found.map(|rule| rule.as_str().expect("a text").to_owned()).collect()
    }

    /// The number of elements that a selector finds.
    pub(crate) async fn count(&self, selector: &str) -> usize {
        let found = json!({"using": "css selector", "value": selector});
        let found = self.call(Method::POST, "/elements", found).await;
        found.as_array().map_or(0, Vec::len)
    }

    /// Waits until a selector finds an element.
    pub(crate) async fn element(&self, selector: &str) -> String {
        let wanted = json!({"using": "css selector", "value": selector});
        let found = eventually(async || {
            match self.try_call(Method::POST, "/element", wanted.clone()).await {
                Ok(found) => Ok(found),
                Err(error) => {
                    let page = self.text_of("body").await;
                    Err(format!("no `{selector}`: {error}\n{page}"))
                }
            }
        })
        .await;
        text(&found, ELEMENT)
    }

    async fn text_of(&self, selector: &str) -> String {
        let script = format!(
            "const found = document.querySelector({}); return found ? found.innerText : '';",
            json!(selector)
        );
        self.script(&script).await.as_str().unwrap_or_default().to_owned()
    }

    /// The visible text of an element.
    pub(crate) async fn text(&self, selector: &str) -> String {
        self.element(selector).await;
        self.text_of(selector).await
    }

    /// Waits until an element shows a text.
    pub(crate) async fn see(&self, selector: &str, text: &str) {
        eventually(async || {
            let seen = self.text_of(selector).await;
            holds(seen.contains(text), format!("`{selector}` shows `{seen}`, not `{text}`"))
        })
        .await;
    }

    /// Clicks on an element of a page that stays.
    pub(crate) async fn click(&self, selector: &str) {
        self.on(selector, "click", json!({})).await;
    }

    /// Clicks on an element that leads to another page, or to the same one anew, and waits until it
    /// is there.
    pub(crate) async fn follow(&self, selector: &str) {
        let before = format!("/element/{}/name", self.element("html").await);
        self.click(selector).await;
        eventually(async || {
            let left = self.try_call(Method::GET, &before, Value::Null).await.is_err();
            let arrived = left && self.script("return document.readyState").await == "complete";
            holds(arrived, format!("`{selector}` leads nowhere"))
        })
        .await;
    }

    /// Types into a field, in place of what is there.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        self.on(selector, "clear", json!({})).await;
        self.on(selector, "value", json!({"text": text})).await;
    }

    /// Does something to an element, which a page that lives may have replaced since it was found.
    async fn on(&self, selector: &str, command: &str, body: Value) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let path = format!("/element/{}/{command}", self.element(selector).await);
            match self.try_call(Method::POST, &path, body.clone()).await {
                Ok(_) => return,
                Err(error) => assert!(
                    text(&error, "error") == "stale element reference" && Instant::now() < deadline,
                    "{command} on `{selector}`: {error}"
                ),
            }
        }
    }

    /// Presses keys where the focus is.
    pub(crate) async fn press(&self, key: char) {
        let active = self.call(Method::GET, "/element/active", Value::Null).await;
        let active = text(&active, ELEMENT);
        let keys = json!({"text": key.to_string()});
        self.call(Method::POST, &format!("/element/{active}/value"), keys).await;
    }

    /// Complaints of the page since the last time: scripts, and what the policy forbade.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.call(Method::POST, "/se/log", json!({"type": "browser"})).await;
        let lines = log.as_array().into_iter().flatten();
        lines.filter_map(|line| Some(line["message"].as_str()?.to_owned())).collect()
    }

    /// True if a page shows a dialog of its own.
    pub(crate) async fn alerts(&self) -> bool {
        self.try_call(Method::GET, "/alert/text", Value::Null).await.is_ok()
    }

    /// Keeps a picture of the whole page under `target/screenshots`.
    pub(crate) async fn keep(&self, name: &str) {
        let size = self.script("return document.documentElement.scrollHeight").await;
        let width = self.script("return window.innerWidth").await;
        let clip = json!({"x": 0, "y": 0, "width": width, "height": size, "scale": 1});
        let shot = json!({"captureBeyondViewport": true, "clip": clip});
        let shot = self.devtools("Page.captureScreenshot", shot).await;
        let png = BASE64_STANDARD.decode(text(&shot, "data")).expect("base64");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        fs::create_dir_all(&folder).expect("the folder can be made");
        fs::write(folder.join(format!("{name}.png")), png).expect("the picture can be written");
    }
}

/// A text of an answer.
fn text(answer: &Value, name: &str) -> String {
    let text = answer.get(name).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("no `{name}` in {answer}")).to_owned()
}

/// A driver and the port that it listens on. It takes a free port of IPv4 and then the same one of
/// IPv6, which may be in use.
fn driver() -> (Child, u16) {
    const TRIES: usize = 5;
    for _ in 0..TRIES {
        let mut driver = Command::new("chromedriver");
        // A group of its own, so that all that it starts can be ended.
        driver.arg("--port=0").process_group(0).stdin(Stdio::null()).stderr(Stdio::null());
        let mut driver = driver.stdout(Stdio::piped()).spawn().expect(
            "chromedriver is not there: run `make test`, which installs chromium and its driver",
        );
        let lines = BufReader::new(driver.stdout.take().expect("it is piped")).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        if let Some(port) = port {
            return (driver, port);
        }
        driver.wait().expect("it has closed its output, and ends");
    }
    panic!("no driver starts");
}

fn capabilities(profile: &Path) -> Value {
    let options = json!({"binary": "/usr/bin/chromium", "args": [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--force-device-scale-factor=1", format!("--user-data-dir={}", profile.display()),
    ]});
    json!({"capabilities": {"alwaysMatch": {
        "browserName": "chrome",
        "unhandledPromptBehavior": "ignore",
        "goog:loggingPrefs": {"browser": "ALL"},
        "goog:chromeOptions": options,
    }}})
}

impl Drop for Browser {
    fn drop(&mut self) {
        let close = self.client.delete(&self.session).timeout(Duration::from_secs(10)).send();
        let _closed = wait_for(async move { close.await.map(drop) });
        // What the driver left behind has our profile in its arguments, and nothing else has.
        for process in with_profile(self.profile.path()) {
            let _ended = Command::new("kill").args(["-KILL", &process]).status();
        }
        let _ended = self.driver.kill();
        let _reaped = self.driver.wait();
    }
}

/// Processes that were started with this profile.
fn with_profile(profile: &Path) -> Vec<String> {
    let marks = profile.display().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let named = processes.filter(|process| {
        let arguments: PathBuf = process.path().join("cmdline");
        fs::read(arguments).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&marks))
    });
    let ids = named.map(|process| process.file_name().to_string_lossy().into_owned());
    ids.filter(|id| id.parse::<u32>().is_ok()).collect()
}
