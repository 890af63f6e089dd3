//! `docker top` and `docker port`.

use engine_api::container::TopResponse;
use engine_client::{Request, escape};

use super::attach::inspect;
use super::ports::join_host_port;
use crate::command::{Args, Command, Matches, Order};
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::text::table::align_with;

pub const TOP: Command = Command {
    name: "top",
    usage: "CONTAINER [ps OPTIONS]",
    about: "Display the running processes of a container",
    aliases: "docker container top, docker top",
    args: Args::AtLeast(1),
    order: Order::FlagsFirst,
    action: Some(|context, flags| Box::pin(top(context, flags))),
    ..Command::EMPTY
};

pub const PORT: Command = Command {
    name: "port",
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "List port mappings or a specific mapping for the container",
    aliases: "docker container port, docker port",
    args: Args::Between(1, 2),
    action: Some(|context, flags| Box::pin(port(context, flags))),
    ..Command::EMPTY
};

async fn top(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let request = Request::get(format!("/containers/{}/top", escape(flags.arg(0))))
        .with_some("ps_args", flags.args[1..].join(" "));
    let answer: TopResponse = context.client.call(request).await?;
    let mut text = answer.titles.join("\t") + "\n";
    for process in &answer.processes {
        text.push_str(&(process.join("\t") + "\n"));
    }
    context::print(&align_with(&text, 20, 3))?;
    Ok(0)
}

async fn port(context: &Context, flags: &Matches) -> Result<u8, Failure> {
    let container = inspect(&context.client, flags.arg(0)).await?;
    let ports = &container.network_settings.ports;
    let wanted = flags.arg(1);
    let mut lines = Vec::new();
    if wanted.is_empty() {
        for (port, bindings) in ports {
            for binding in bindings.iter().flatten() {
                lines.push(format!("{port} -> {}", join_host_port(&binding.host_ip, &binding.host_port)));
            }
        }
        // By number: `80/tcp` stands before `443/tcp`.
        lines.sort_by_key(|line| {
            (line.split('/').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or(u16::MAX), line.clone())
        });
    } else {
        let full = if wanted.contains('/') { wanted.to_owned() } else { format!("{wanted}/tcp") };
        let Some(Some(bindings)) = ports.get(&full) else {
            return Err(Failure::Text(format!("Error: No public port '{wanted}' published for {}", flags.arg(0))));
        };
        lines.extend(bindings.iter().map(|binding| join_host_port(&binding.host_ip, &binding.host_port)));
    }
    for line in lines {
        context::print_line(&line)?;
    }
    Ok(0)
}
