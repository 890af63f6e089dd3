//! Docker Hub's login by its web page, and the tokens that it leaves beside the credentials.

use std::io;
use std::process::{Command, Stdio};

use engine_api::auth::{AuthConfig, Secret};
use registry_client::{Account, DeviceLogin, Hub, Proxies, revoke};

use super::note::{Style, note};
use crate::config::{HUB_KEY, credentials, file};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::terminal;

/// Set to anything, it keeps the web page out of `docker login`.
const DISABLED: &str = "DOCKER_CLI_DISABLE_OAUTH_LOGIN";
/// As Docker's client makes itself known to the Hub.
const USER_AGENT: &str =
    if cfg!(target_arch = "aarch64") { "docker-cli:28_2_2:linux-arm64" } else { "docker-cli:28_2_2:linux-amd64" };
/// Programs that show a web page, in Docker's order.
const BROWSERS: [&str; 3] = ["xdg-open", "x-www-browser", "www-browser"];
/// Between a refresh token and the id of the client that has it.
const SEPARATOR: &str = "..";

fn access_key() -> String {
    format!("{HUB_KEY}access-token")
}

fn refresh_key() -> String {
    format!("{HUB_KEY}refresh-token")
}

/// Logs in with a code that is entered in a browser; `None` where that cannot be begun.
pub async fn log_in() -> Result<Option<(Account, String)>, Failure> {
    if std::env::var_os(DISABLED).is_some_and(|value| !value.is_empty()) {
        return Ok(None);
    }
    let Ok(login) = DeviceLogin::start(Hub::default(), USER_AGENT, Proxies::from_environment()).await else {
        return Ok(None);
    };
    let style = Style::from(terminal::stderr_is_terminal());
    let hint = note(style, &["To sign in with credentials on the command line, use 'docker login -u <username>'", ""]);
    let address = login.address().split('?').next().unwrap_or_default();
    context::say(&format!("\x1b[1m\nUSING WEB-BASED LOGIN\x1b[0m\n{hint}"));
    context::say(&format!(
        "\nYour one-time device confirmation code is: \x1b[1m{}\n\x1b[0m\x1b[1mPress ENTER\x1b[0m to open your browser or \
         submit your device code here: \x1b[4m{address}\n\x1b[0m\nWaiting for authentication in the browser…",
        login.code()
    ));
    let page = login.address().to_owned();
    // Whoever presses no key is not waited for: the thread ends with the program.
    std::thread::spawn(move || {
        if io::stdin().read_line(&mut String::new()).is_ok_and(|length| length > 0) {
            show(&page);
        }
    });
    let account = login
        .wait()
        .await
        .map_err(|error| Failure::text(format!("failed waiting for authentication: {}", errors::chain(&error))))?;
    Ok(Some((account, login.client_id().to_owned())))
}

/// The tokens as they are stored beside the credentials.
pub fn tokens(account: &Account, client_id: &str) -> [AuthConfig; 2] {
    let stored = |key: String, secret: String| AuthConfig {
        username: account.username.clone(),
        password: Secret::new(secret),
        server_address: key,
        ..AuthConfig::default()
    };
    let refresh = format!("{}{SEPARATOR}{client_id}", account.refresh_token.reveal());
    [stored(access_key(), account.access_token.reveal().to_owned()), stored(refresh_key(), refresh)]
}

/// Forgets the tokens of a web login and has the Hub forget them, too; nothing if there are none.
pub async fn log_out(context: &Context) -> Result<(), String> {
    let stored = context.config.credentials(&refresh_key());
    let Some((token, client_id)) = stored.password.expose().split_once(SEPARATOR) else { return Ok(()) };
    let keys = [access_key(), refresh_key()];
    if let Some(helper) = context.config.helper(HUB_KEY) {
        keys.iter().for_each(|key| credentials::erase(helper, key));
    }
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    file::erase_credentials(&context.config.folder, &keys)
        .map_err(|failure| format!("failed to erase tokens: {failure}"))?;
    let hub = Hub { client_id: client_id.to_owned(), ..Hub::default() };
    revoke(&hub, token, USER_AGENT, Proxies::from_environment()).await.map_err(|error| {
        let reason = errors::chain(&error);
        format!(
            "credentials erased successfully, but there was a failure to revoke the OAuth refresh token with the tenant: {reason}"
        )
    })
}

/// In whatever shows web pages here; without one the user has read the address.
fn show(page: &str) {
    for browser in BROWSERS {
        let mut command = Command::new(browser);
        command.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if command.spawn().is_ok() {
            return;
        }
    }
}
