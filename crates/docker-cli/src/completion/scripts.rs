//! `docker completion bash|zsh|fish|powershell`: what a shell sources so that it asks this program how a line could go on.

use crate::command::{Args, Command, Flag, Kind, Matches, NONE, flag};
use crate::context;
use crate::failure::Failure;

/// `docker completion`.
pub const NOUN: Command = Command {
    name: "completion",
    usage: "COMMAND",
    about: "Generate the autocompletion script for the specified shell",
    long: "Generate the autocompletion script for docker for the specified shell.\nSee each sub-command's help for details on how to use the generated script.",
    hidden: true,
    args: Args::None,
    children: &[&BASH, &FISH, &POWERSHELL, &ZSH],
    ..Command::EMPTY
};

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("no-descriptions", NONE, Kind::Bool, "", "disable completion descriptions"),
];

const BASH: Command = Command {
    name: "bash",
    about: "Generate the autocompletion script for bash",
    long: "Generate the autocompletion script for the bash shell.\n\nTo load completions in your current shell session:\n\n\tsource <(docker completion bash)\n\nTo load completions for every new session, execute once:\n\n\tdocker completion bash > /etc/bash_completion.d/docker",
    flags: &[FLAGS],
    args: Args::None,
    local: true,
    action: Some(|_, flags| Box::pin(async move { show(BASH_SCRIPT, flags) })),
    ..Command::EMPTY
};

const ZSH: Command = Command {
    name: "zsh",
    about: "Generate the autocompletion script for zsh",
    long: "Generate the autocompletion script for the zsh shell.\n\nTo load completions in your current shell session:\n\n\tsource <(docker completion zsh)\n\nTo load completions for every new session, execute once:\n\n\tdocker completion zsh > \"${fpath[1]}/_docker\"",
    flags: &[FLAGS],
    args: Args::None,
    local: true,
    action: Some(|_, flags| Box::pin(async move { show(ZSH_SCRIPT, flags) })),
    ..Command::EMPTY
};

const FISH: Command = Command {
    name: "fish",
    about: "Generate the autocompletion script for fish",
    long: "Generate the autocompletion script for the fish shell.\n\nTo load completions in your current shell session:\n\n\tdocker completion fish | source\n\nTo load completions for every new session, execute once:\n\n\tdocker completion fish > ~/.config/fish/completions/docker.fish",
    flags: &[FLAGS],
    args: Args::None,
    local: true,
    action: Some(|_, flags| Box::pin(async move { show(FISH_SCRIPT, flags) })),
    ..Command::EMPTY
};

const POWERSHELL: Command = Command {
    name: "powershell",
    usage: "[flags]",
    about: "Generate the autocompletion script for powershell",
    long: "Generate the autocompletion script for powershell.\n\nTo load completions in your current shell session:\n\n\tdocker completion powershell | Out-String | Invoke-Expression\n\nTo load completions for every new session, add the output of the above command\nto your powershell profile.",
    flags: &[FLAGS],
    args: Args::None,
    local: true,
    action: Some(|_, flags| Box::pin(async move { show(POWERSHELL_SCRIPT, flags) })),
    ..Command::EMPTY
};

fn show(script: &str, flags: &Matches) -> Result<u8, Failure> {
    let without = flags.is_set("no-descriptions");
    context::print(&script.replace("@ASK@", if without { "__completeNoDesc" } else { "__complete" }))?;
    Ok(0)
}

/// The words are read from the line itself: bash splits them at colons and equals signs, images and flags have both.
const BASH_SCRIPT: &str = r#"# bash completion for docker

__docker_complete() {
    local out directive line candidate current kept
    local -a words
    COMPREPLY=()
    read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:COMP_POINT-1:1} == [[:space:]] ]] && words+=("")
    current=${words[${#words[@]} - 1]}
    out=$("${words[0]}" __completeNoDesc "${words[@]:1}" 2>/dev/null) || return
    directive=${out##*:}
    out=${out%:*}
    ((directive & 1)) && return
    # Behind --flag= it is the value that goes on.
    [[ $current == --*=* ]] && current=${current#*=}
    # What stands before the last separator stays as it is.
    kept=${current%"${current##*[:=]}"}
    while IFS= read -r candidate; do
        [[ -n $candidate && $candidate == "$current"* ]] && COMPREPLY+=("${candidate#"$kept"}")
    done <<<"$out"
    if [[ $(type -t compopt) == builtin ]]; then
        ((directive & 2)) && compopt -o nospace
        ((directive & 4)) && compopt +o default
    fi
    return 0
}

complete -o default -F __docker_complete docker
"#;

const ZSH_SCRIPT: &str = r#"#compdef docker

_docker() {
    local directive line name
    local -a lines entries options
    lines=("${(@f)$(${(Q)words[1]} @ASK@ "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    directive=${lines[-1]#:}
    (( directive & 1 )) && return 1
    for line in "${(@)lines[1,-2]}"; do
        name=${line%%$'\t'*}
        [[ -z $name ]] && continue
        if [[ $line == *$'\t'* ]]; then
            entries+=("${name//:/\\:}:${line#*$'\t'}")
        else
            entries+=("${name//:/\\:}")
        fi
    done
    if (( ${#entries} )); then
        (( directive & 2 )) && options=(-S '')
        [[ $PREFIX == --*=* ]] && compset -P '*='
        _describe -V 'docker' entries "${options[@]}"
    elif (( ! (directive & 4) )); then
        _files
    fi
}

if [[ ${funcstack[1]} == _docker ]]; then
    _docker "$@"
else
    compdef _docker docker
fi
"#;

const FISH_SCRIPT: &str = r#"# fish completion for docker

function __docker_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($before[1] @ASK@ $before[2..-1] "$current" 2>/dev/null)
    set -l directive (string replace -r '^:' '' -- $lines[-1])
    set -l candidates $lines[1..-2]
    if test (math "$directive % 2") -eq 1
        return
    end
    # Behind --flag= the value is completed together with the flag.
    set -l start (string match -r '^--[^=]*=' -- $current)
    if test (count $candidates) -gt 0
        for candidate in $candidates
            printf '%s%s\n' "$start" $candidate
        end
    else if test (math "floor($directive / 4) % 2") -eq 0
        __fish_complete_path "$current"
    end
end

complete -c docker -f -a '(__docker_complete)'
"#;

/// PowerShell before 7.3 drops an argument that is empty unless it is quoted.
const POWERSHELL_SCRIPT: &str = r#"# powershell completion for docker

Register-ArgumentCompleter -Native -CommandName 'docker' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $elements = @($commandAst.CommandElements | Where-Object { $_.Extent.StartOffset -lt $cursorPosition })
    $words = @($elements | Select-Object -Skip 1 | ForEach-Object { $_.Extent.Text })
    if ($wordToComplete -eq '') {
        $words += if ($PSVersionTable.PSVersion -lt [version]'7.3') { '""' } else { '' }
    }
    $lines = @(& $elements[0].Extent.Text @ASK@ @words 2>$null)
    if ($lines.Count -eq 0) { return }
    $directive = [int]($lines[-1] -replace '^:', '')
    if ($directive -band 1) { return }
    # Behind --flag= the value is completed together with the flag.
    $start = if ($wordToComplete -match '^--[^=]*=') { $Matches[0] } else { '' }
    $space = if ($directive -band 2) { '' } else { ' ' }
    $found = @($lines | Select-Object -SkipLast 1 | ForEach-Object {
        $name, $about = $_ -split "`t", 2
        if ("$start$name".StartsWith($wordToComplete)) {
            $shown = if ($about) { $about } else { $name }
            [System.Management.Automation.CompletionResult]::new("$start$name$space", $name, 'ParameterValue', $shown)
        }
    })
    # An empty answer keeps the shell from naming files.
    if ($found.Count -eq 0 -and ($directive -band 4)) { '' } else { $found }
}
"#;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use super::*;

    /// Completes a line in bash with a program that answers what is written down and repeats what it was asked.
    fn in_bash(line: &str, answer: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("docker");
        std::fs::write(&program, format!("#!/bin/sh\nprintf '<%s>' \"$@\" >&9\nprintf '{answer}'\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let script = format!(
            "PATH={}:$PATH\n{BASH_SCRIPT}\nexec 9>&1\nCOMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}\n__docker_complete\nprintf ' [%s]' \"${{COMPREPLY[@]}}\"\n",
            folder.path().display()
        );
        let mut bash = Command::new("bash")
            .arg("--norc")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        String::from_utf8(bash.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn each_script_asks_with_or_without_descriptions() {
        for script in [ZSH_SCRIPT, FISH_SCRIPT, POWERSHELL_SCRIPT] {
            assert_eq!(script.matches("@ASK@").count(), 1, "{script}");
        }
    }

    #[test]
    fn bash_asks_with_whole_words_and_keeps_what_stands_before_a_separator() {
        assert_eq!(
            in_bash("docker con", "container\\ncontext\\nps\\n:4\\n"),
            "<__completeNoDesc><con> [container] [context]"
        );
        assert_eq!(in_bash("docker run ", "a:1\\nb:2\\n:4\\n"), "<__completeNoDesc><run><> [a:1] [b:2]");
        assert_eq!(in_bash("docker run a:", "a:1\\nb:2\\n:4\\n"), "<__completeNoDesc><run><a:> [1]");
        assert_eq!(
            in_bash("docker run --pull=al", "always\\nnever\\n:4\\n"),
            "<__completeNoDesc><run><--pull=al> [always]"
        );
        assert_eq!(in_bash("docker x ", ":1\\n"), "<__completeNoDesc><x><> []");
    }
}
