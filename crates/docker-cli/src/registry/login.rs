//! `docker login`: the daemon tries the credentials, and this user's configuration keeps them.

use std::io::{self, BufRead, Read, Write};

use engine_api::auth::{AuthConfig, AuthResponse, Secret};
use engine_client::Request;
use errors::{ErrorKind, Kind as _};
use registry_client::Account;

use super::note::{Style, link, note};
use super::{key_of, web_login};
use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::config::{HUB_KEY, credentials, file};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::terminal::{self, HiddenInput};

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("password", 'p', Kind::Text, "", "Password or Personal Access Token (PAT)"),
    flag("password-stdin", NONE, Kind::Bool, "", "Take the Password or Personal Access Token (PAT) from stdin"),
    flag("username", 'u', Kind::Text, "", "Username"),
];

pub const COMMAND: Command = Command {
    name: "login",
    usage: "[OPTIONS] [SERVER]",
    about: "Authenticate to a registry",
    long: "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    flags: &[FLAGS],
    args: Args::AtMost(1),
    action: Some(|context, flags| Box::pin(execute(context, flags))),
    ..Command::EMPTY
};

/// Longest password that is read from standard input.
const MAX_PASSWORD: u64 = 1 << 20;
/// What Docker says when its web page for this cannot be reached.
const NO_WEB_LOGIN: &str = "Failed to start web-based login - falling back to command line login...\n";
const NO_TERMINAL: &str = "Error: Cannot perform an interactive login from a non TTY device";

async fn execute(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let key = key_of(flags.arg(0));
    let (user, password) = typed(flags)?;
    if user.is_empty() && password.is_empty() {
        let stored = context.config.credentials(&key);
        if !stored.username.is_empty() && !stored.password.is_empty() {
            let stored = AuthConfig { server_address: key.clone(), ..stored };
            match with_stored(context, stored).await {
                Ok(code) => return Ok(code),
                Err(failure) => context::say(&failure.to_string()),
            }
        }
    }
    if key == HUB_KEY && user.is_empty() && password.is_empty() && terminal::stdin_is_terminal() {
        match web_login::log_in().await? {
            Some((account, client_id)) => return enter(context, &account, &client_id).await,
            None => context::say(NO_WEB_LOGIN),
        }
    }
    let (user, password) = ask(context, &key, user, password)?;
    let auth =
        AuthConfig { username: user, password: Secret::new(password), server_address: key, ..AuthConfig::default() };
    log_in(context, auth).await
}

/// What flags and standard input give.
fn typed(flags: &Matches) -> Result<(String, String), Failure> {
    let user = flags.text("username").trim().to_owned();
    if flags.given("password") && flags.is_set("password-stdin") {
        return Err(Failure::text("conflicting options: cannot specify both --password and --password-stdin"));
    }
    if flags.is_set("password-stdin") {
        if user.is_empty() {
            return Err(Failure::text("the --password-stdin option requires --username to be set"));
        }
        let mut text = String::new();
        io::stdin().lock().take(MAX_PASSWORD).read_to_string(&mut text)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        return Ok((user, text.strip_suffix('\r').unwrap_or(text).to_owned()));
    }
    if flags.given("password") {
        if flags.text("password").is_empty() {
            return Err(Failure::text("password is empty"));
        }
        context::say("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    Ok((user, flags.text("password").to_owned()))
}

async fn with_stored(context: &Context, auth: AuthConfig) -> Result<u8, Failure> {
    context::say(&format!("Authenticating with existing credentials... [Username: {}]\n", auth.username));
    context::say(" Info -> To login with a different account, run 'docker logout' followed by 'docker login'\n\n");
    match attempt(context, &auth).await {
        Ok(answer) => finish(context, auth, answer),
        Err(error) if error.kind() == ErrorKind::Unauthenticated => {
            Err(Failure::text("Stored credentials invalid or expired"))
        }
        Err(error) => Err(Failure::text(format!("Login did not succeed, error: {error}"))),
    }
}

/// Asks for what is missing.
fn ask(context: &Context, key: &str, user: String, password: String) -> Result<(String, String), Failure> {
    if (user.is_empty() || password.is_empty()) && !terminal::stdin_is_terminal() {
        return Err(Failure::text(NO_TERMINAL));
    }
    let mut user = user;
    if user.is_empty() {
        if key == HUB_KEY {
            context::say(
                "Log in with your Docker ID or email address to push and pull images from Docker Hub. If you don't have a Docker ID, head over to https://hub.docker.com/ to create one.",
            );
            context::say(
                "You can log in with your password or a Personal Access Token (PAT). Using a limited-scope PAT grants better security and is required for organizations using SSO. Learn more at https://docs.docker.com/go/access-tokens/\n",
            );
        }
        let known = context.config.credentials(key).username;
        let prompt = if known.is_empty() { "Username: ".to_owned() } else { format!("Username ({known}): ") };
        user = read_line(&prompt)?.trim().to_owned();
        if user.is_empty() {
            user = known;
        }
        if user.is_empty() {
            return Err(Failure::text("username is empty"));
        }
    }
    let mut password = password;
    if password.is_empty() {
        if key == HUB_KEY {
            context::say(token_note(terminal::stderr_is_terminal().into()).as_str());
        }
        let hidden = HiddenInput::start()?;
        password = read_line("Password: ")?.trim_end_matches(['\r', '\n']).to_owned();
        drop(hidden);
        context::print("\n")?;
        if password.is_empty() {
            return Err(Failure::text("password is empty"));
        }
    }
    Ok((user, password))
}

/// That a token does as well as a password.
fn token_note(style: Style) -> String {
    let visit = format!("To create a PAT, visit {}", link(style, "https://app.docker.com/settings"));
    note(style, &["A Personal Access Token (PAT) can be used instead.", &visit, "", ""])
}

fn read_line(prompt: &str) -> Result<String, Failure> {
    context::print(prompt)?;
    io::stdout().flush()?;
    let mut line = String::new();
    io::stdin().lock().take(MAX_PASSWORD).read_line(&mut line)?;
    Ok(line)
}

async fn log_in(context: &Context, auth: AuthConfig) -> Result<u8, Failure> {
    let answer = attempt(context, &auth).await?;
    finish(context, auth, answer)
}

async fn attempt(context: &Context, auth: &AuthConfig) -> Result<AuthResponse, engine_client::Error> {
    context.client.call(Request::post("/auth").json(auth)).await
}

/// Logs in who has come by the web page, and keeps the tokens.
async fn enter(context: &Context, account: &Account, client_id: &str) -> Result<u8, Failure> {
    for token in web_login::tokens(account, client_id) {
        keep(context, &token).map_err(|reason| Failure::text(format!("failed to store tokens: {reason}")))?;
    }
    let auth = AuthConfig {
        username: account.username.clone(),
        password: Secret::new(account.password.reveal()),
        server_address: HUB_KEY.to_owned(),
        ..AuthConfig::default()
    };
    log_in(context, auth).await
}

/// Keeps what the registry took; an identity token in the password's place, if it gave one.
fn finish(context: &Context, mut auth: AuthConfig, answer: AuthResponse) -> Result<u8, Failure> {
    if !answer.identity_token.is_empty() {
        auth.password = Secret::default();
        auth.identity_token = answer.identity_token;
    }
    let kept = keep(context, &auth).map_err(|reason| Failure::text(format!("Error saving credentials: {reason}")))?;
    if kept == Kept::Readable && !auth.password.is_empty() {
        context::say(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            context.config.folder.join("config.json").display()
        ));
    }
    if !answer.status.is_empty() {
        context::print_line(&answer.status)?;
    }
    Ok(0)
}

/// Where credentials are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Sealed,
    /// In the file, where they were not before.
    Readable,
    /// In the file, as before.
    ReadableAsBefore,
}

/// Where the configuration says; where it says nothing and has nothing, with a program that keeps credentials sealed.
fn keep(context: &Context, auth: &AuthConfig) -> Result<Kept, String> {
    let (folder, key) = (&context.config.folder, &auth.server_address);
    let sealed = |helper: &str| {
        file::note_kept_elsewhere(folder, key, helper).map_err(|failure| failure.to_string()).map(|()| Kept::Sealed)
    };
    if let Some(helper) = context.config.helper(key) {
        credentials::store(helper, auth)?;
        return sealed(helper);
    }
    let found = credentials::detect(std::env::var_os("PATH").as_deref());
    if let Some(helper) = found.filter(|_| context.config.is_without_credentials()) {
        match credentials::store(helper, auth) {
            Ok(()) => return sealed(helper),
            // Nobody has named it: the file does as well, and says so.
            Err(reason) => context::say(&format!("WARNING: docker-credential-{helper}: {reason}")),
        }
    }
    let is_new = file::store_credentials(folder, auth).map_err(|failure| failure.to_string())?;
    Ok(if is_new { Kept::Readable } else { Kept::ReadableAsBefore })
}
