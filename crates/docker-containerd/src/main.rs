//! docker-containerd: containerd's place in Docker. Arguments and wiring, nothing else.

mod arguments;
mod config;
mod notify;
mod publish;
mod run;

use std::process::ExitCode;

use arguments::Action;

fn main() -> ExitCode {
    let arguments = arguments::parse(std::env::args_os());
    match act(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("docker-containerd: {}", errors::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: arguments::Arguments) -> Result<(), Box<dyn std::error::Error>> {
    match &arguments.action {
        Action::Version => println!("{}", arguments::version_line()),
        Action::ConfigDefault => print!("{}", config::Config::default().to_toml()?),
        Action::ConfigDump => print!("{}", arguments.effective_config()?.to_toml()?),
        Action::Publish { topic, namespace } => {
            let address = arguments.effective_config()?.grpc.address;
            publish::publish(&address, namespace, topic, std::io::stdin().lock())?;
        }
        Action::Run => run::run(&arguments.effective_config()?)?,
    }
    Ok(())
}
