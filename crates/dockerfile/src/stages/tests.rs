use proptest::prelude::*;

use super::*;
use crate::instruction::{CommandLine, NetworkMode, Source};

fn error(text: &str) -> String {
    Dockerfile::parse(text.as_bytes()).unwrap_err().to_string()
}

fn statements(text: &str) -> Vec<Instruction> {
    let text = format!("FROM scratch\n{text}");
    let parsed = Dockerfile::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    parsed.stages[0].statements.iter().map(|statement| statement.instruction.clone()).collect()
}

#[test]
fn the_book_s_dockerfiles_are_read() {
    let text = include_str!("../../testdata/psweb.Dockerfile");
    let parsed = Dockerfile::parse(text.as_bytes()).unwrap();
    let names: Vec<&str> = parsed.stages[0].statements.iter().map(|s| s.instruction.name()).collect();
    assert_eq!(names, ["LABEL", "RUN", "COPY", "WORKDIR", "RUN", "EXPOSE", "ENTRYPOINT"]);
    let text = include_str!("../../testdata/atsea.Dockerfile");
    let parsed = Dockerfile::parse(text.as_bytes()).unwrap();
    let names: Vec<_> = parsed.stages.iter().map(|stage| stage.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["storefront", "appserver", "production"]);
    assert_eq!((parsed.stage("APPSERVER"), parsed.stage("2"), parsed.stage("3")), (Some(1), Some(2), None));
}

#[test]
fn mistakes_are_told_with_their_line_and_a_hint() {
    for (text, message) in [
        ("FORM a", " on line 1: unknown instruction: FORM (did you mean FROM?)"),
        ("FROM a\n\nCOPPY a b", " on line 3: unknown instruction: COPPY (did you mean COPY?)"),
        (
            "FROM a b",
            " on line 1: FROM requires either one or three arguments\nhint: FROM image, or FROM image AS name",
        ),
        (
            "FROM a AS 1b",
            " on line 1: invalid name for build stage: \"1b\", name can't start with a number or contain symbols",
        ),
        (
            "RUN x",
            " on line 1: no build stage in current context\nhint: a Dockerfile begins with FROM image; ARG alone may stand before it",
        ),
        (
            "ARG x",
            ": no build stage in current context\nhint: a Dockerfile begins with FROM image; ARG alone may stand before it",
        ),
        (
            "\n \n\t\n",
            ": file with no instructions\nhint: a Dockerfile begins with FROM image; ARG alone may stand before it",
        ),
        (
            "# nothing",
            ": file with no instructions\nhint: a Dockerfile begins with FROM image; ARG alone may stand before it",
        ),
        (
            "FROM a\nCOPY a",
            " on line 2: COPY requires at least two arguments, but only one was provided. Destination could not be determined\nhint: sources first, the destination last: COPY file folder/",
        ),
        ("FROM a\nCOPY --form=x a b", " on line 2: unknown flag: --form (did you mean from?)"),
        ("FROM a\nENV a", " on line 2: ENV must have two arguments\nhint: name=value"),
        ("FROM a\nENV", " on line 2: ENV requires at least one argument"),
        (
            "FROM a\nLABEL a=b c",
            " on line 2: Syntax error - can't find = in \"c\". Must be of the form: name=value\nhint: a value with blanks is quoted: name=\"two words\"",
        ),
        ("FROM a\nENV =b", " on line 2: ENV names can not be blank"),
        (
            "FROM a\nSHELL sh",
            " on line 2: SHELL requires the arguments to be in JSON form\nhint: SHELL [\"/bin/sh\", \"-c\"]",
        ),
        ("FROM a\nONBUILD ONBUILD RUN x", " on line 2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("FROM a\nONBUILD FROM x", " on line 2: FROM isn't allowed as an ONBUILD trigger"),
        ("FROM a\nHEALTHCHECK FOO", " on line 2: unknown type \"FOO\" in HEALTHCHECK (try CMD)"),
        ("FROM a\nHEALTHCHECK --interval=1us CMD x", " on line 2: Interval \"interval\" cannot be less than 1ms"),
        ("FROM a\nUSER", " on line 2: USER requires exactly one argument"),
        ("FROM a\nVOLUME [\"\"]", " on line 2: VOLUME specified can not be an empty string"),
        ("FROM a\nRUN --network=lan x", " on line 2: invalid network mode \"lan\""),
    ] {
        assert_eq!(
            error(text),
            match message.strip_prefix(": ") {
                Some(message) => format!("failed to parse Dockerfile: {message}"),
                None => format!("dockerfile parse error{message}"),
            },
            "{text}"
        );
    }
}

#[test]
fn words_and_arrays_are_told_apart() {
    let parsed = statements("CMD [\"a\", \"b c\"]\nENTRYPOINT ['a']\nRUN --network=none echo  x\nCMD\nVOLUME /a /b");
    assert_eq!(parsed[0], Instruction::Cmd(CommandLine::Exec(vec!["a".to_owned(), "b c".to_owned()])));
    assert_eq!(parsed[1], Instruction::Entrypoint(CommandLine::Shell("['a']".to_owned())));
    let Instruction::Run(run) = &parsed[2] else { panic!("{parsed:?}") };
    assert_eq!((&run.command, run.network), (&CommandLine::Shell("echo  x".to_owned()), NetworkMode::None));
    assert_eq!(parsed[4], Instruction::Volume(vec!["/a".to_owned(), "/b".to_owned()]));
}

#[test]
fn pairs_come_in_both_forms() {
    let parsed = statements("ENV a b  c\nENV a=b c=\"d e\" f=g\\ h");
    let Instruction::Env(old) = &parsed[0] else { panic!() };
    assert_eq!((old[0].key.as_str(), old[0].value.as_str(), old[0].legacy), ("a", "b  c", true));
    let Instruction::Env(new) = &parsed[1] else { panic!() };
    assert_eq!(new.iter().map(|pair| pair.value.as_str()).collect::<Vec<_>>(), ["b", "\"d e\"", "g\\ h"]);
}

#[test]
fn documents_are_sources_of_a_copy() {
    let parsed = statements("COPY --chmod=755 <<a <<\"b\" c /dst/\n1\na\n2\nb\n");
    let Instruction::Copy(copy) = &parsed[0] else { panic!() };
    let Source::Inline(first) = &copy.sources[0] else { panic!() };
    let Source::Inline(second) = &copy.sources[1] else { panic!() };
    assert_eq!((first.content.as_str(), second.content.as_str(), second.expand), ("1\n", "2\n", false));
    assert_eq!(copy.sources[2], Source::Path("c".to_owned()));
    assert_eq!((copy.destination.as_str(), copy.chmod.as_str()), ("/dst/", "755"));
}

#[test]
fn a_trigger_carries_its_documents() {
    let parsed = statements("ONBUILD RUN <<EOF\nx\nEOF");
    let Instruction::OnBuild(trigger) = &parsed[0] else { panic!() };
    let again = crate::parse_trigger(trigger).unwrap();
    let Instruction::Run(run) = again.instruction else { panic!() };
    assert_eq!(run.heredocs[0].content, "x\n");
    assert!(crate::parse_trigger("FROM x").is_err());
    assert!(crate::parse_trigger("RUN a\nRUN b").is_err());
}

#[test]
fn the_backtick_escapes_where_the_file_says_so() {
    let parsed = Dockerfile::parse(b"# escape=`\nFROM a\nRUN dir c:\\ `\n && x").unwrap();
    let Instruction::Run(run) = &parsed.stages[0].statements[0].instruction else { panic!() };
    assert_eq!(run.command, CommandLine::Shell("dir c:\\  && x".to_owned()));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Dockerfile::parse(&bytes);
    }

    #[test]
    fn nothing_that_looks_like_a_dockerfile_does(
        lines in proptest::collection::vec(
            "(FROM|RUN|COPY|ADD|ENV|ARG|LABEL|HEALTHCHECK|ONBUILD|VOLUME|SHELL|# escape=) ?(--[a-z]+(=[a-z,=\"]*)?)? ?[<a-zA-Z\"'\\\\$\\{\\}\\[\\]=:`,ä -]{0,20}\\\\?",
            0..8,
        ),
    ) {
        let text = lines.join("\n");
        if let Ok(parsed) = Dockerfile::parse(format!("FROM a AS b\n{text}").as_bytes()) {
            let findings = crate::check(&parsed);
            prop_assert!(findings.len() < 1000);
        }
    }
}
