use serde_json::json;

use super::*;

fn fill(template: &str) -> Result<String, String> {
    let data = json!({
        "Name": "web",
        "Count": 3,
        "Ratio": 0.5,
        "On": true,
        "None": null,
        "Env": ["A=1", "B=2"],
        "Labels": {"a.b": "x", "c": "y"},
        "State": {"Status": "running", "Pid": 7},
        "Mounts": [{"Source": "/s", "Target": "/t"}],
    });
    let data = Value::from_json(&data, &|name| name == "Labels");
    let template = Template::parse(template).map_err(|error| error.to_string())?;
    template.render(&data, Mode::Row).map_err(|error| error.to_string())
}

#[test]
fn values_print_as_go_prints_them() {
    let cases = [
        ("{{.Name}}", "web"),
        ("{{.Env}}", "[A=1 B=2]"),
        ("{{.Labels}}", "map[a.b:x c:y]"),
        ("{{.State}}", "{running 7}"),
        ("{{.State.Status}} {{.Count}} {{.Ratio}} {{.On}}", "running 3 0.5 true"),
        ("{{.None}}", "<nil>"),
        ("{{.Labels.nothing}}", "<no value>"),
        ("plain", "plain"),
        ("", ""),
        ("{{\"quoted \\\"text\\\"\\n\"}}", "quoted \"text\"\n"),
        ("{{`raw`}}{{'a'}}{{0x10}}{{-5}}{{1.5}}", "raw9716-51.5"),
    ];
    for (template, expected) in cases {
        assert_eq!(fill(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn blocks_choose_and_repeat() {
    let cases = [
        ("{{if .On}}yes{{else}}no{{end}}", "yes"),
        ("{{if not .On}}a{{else if eq .Count 3}}b{{else}}c{{end}}", "b"),
        ("{{range .Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
        ("{{range $i, $e := .Env}}{{$i}}:{{$e}} {{end}}", "0:A=1 1:B=2 "),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a.b=x;c=y;"),
        ("{{range .None}}x{{else}}none{{end}}", "none"),
        ("{{range .Mounts}}{{.Source}}:{{.Target}}{{end}}", "/s:/t"),
        ("{{with .State}}{{.Status}} of {{$.Name}}{{end}}", "running of web"),
        ("{{with .None}}x{{else}}y{{end}}", "y"),
        ("{{$x := .Name}}{{$x}}{{$x = \"b\"}}{{$x}}", "webb"),
        ("{{range .Env}}{{if eq . \"B=2\"}}{{break}}{{end}}{{.}}{{end}}", "A=1"),
        ("{{range .Env}}{{if eq . \"A=1\"}}{{continue}}{{end}}{{.}}{{end}}", "B=2"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("a {{- /* note */ -}} b", "ab"),
        ("a\n {{- .Count -}} \n b", "a3b"),
    ];
    for (template, expected) in cases {
        assert_eq!(fill(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn functions_are_gos_and_dockers() {
    let cases = [
        ("{{json .State}}", r#"{"Status":"running","Pid":7}"#),
        ("{{json .Labels}}{{json .None}}{{json .Env}}", r#"{"a.b":"x","c":"y"}null["A=1","B=2"]"#),
        ("{{.Env | json}}", r#"["A=1","B=2"]"#),
        ("{{join .Env \", \"}}", "A=1, B=2"),
        ("{{index (split (index .Env 0) \"=\") 1}}", "1"),
        ("{{index .Labels \"a.b\"}}{{index .Labels \"no\"}}|", "x|"),
        ("{{(index .Mounts 0).Source}}", "/s"),
        ("{{upper .Name}} {{lower \"ABC\"}} {{title \"two words\"}}", "WEB abc Two Words"),
        ("{{pad .Name 1 2}}|{{pad \"\" 1 1}}|{{truncate .Name 2}}", " web  ||we"),
        ("{{len .Env}} {{len .Name}} {{len .Labels}}", "2 3 2"),
        ("{{slice .Name 1}} {{slice .Name 0 2}}", "eb we"),
        ("{{eq .Count 1 3}} {{ne .Name \"x\"}} {{lt .Count 4}} {{ge .Ratio 0.5}}", "true true true true"),
        ("{{and .On .Name}} {{or .None \"d\"}} {{not .None}}", "web d true"),
        (
            "{{printf \"%s-%05d|%-5s|%5s|%q|%v|%.2f|%t|%x\" .Name .Count .Name .Name .Name .Env .Ratio .On 255}}",
            "web-00003|web  |  web|\"web\"|[A=1 B=2]|0.50|true|ff",
        ),
        ("{{printf \"%d\" .Name}}{{printf \"%s\"}}", "%!d(string=web)%!s(MISSING)"),
        ("{{print .Count .Count .Name}}{{println .Count .Name}}", "3 3web3 web\n"),
        ("{{html \"<a>\"}}{{urlquery \"a b&\"}}", "&lt;a&gt;a+b%26"),
    ];
    for (template, expected) in cases {
        assert_eq!(fill(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn what_is_wrong_is_said_in_gos_words() {
    let cases = [
        ("{{.x", "template: :1: unclosed action"),
        ("{{", "template: :1: unclosed action"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{foo .}}", "template: :1: function \"foo\" not defined"),
        ("{{if .On}}", "template: :1: unexpected EOF"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{$x}}", "template: :1: undefined variable \"$x\""),
        ("\n{{\"a}}", "template: :2: unterminated quoted string"),
        ("{{.Foo}}", "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\""),
        ("{{.State.Foo}}", "template: :1:8: executing \"\" at <.State.Foo>: map has no entry for key \"Foo\""),
        (
            "{{index .Env 9}}",
            "template: :1:2: executing \"\" at <index .Env 9>: error calling index: index out of range: 9",
        ),
    ];
    for (template, expected) in cases {
        assert_eq!(fill(template).unwrap_err(), expected, "{template}");
    }
}

#[test]
fn hostile_templates_are_bounded() {
    assert!(fill(&"{{if .On}}".repeat(1000)).is_err());
    assert!(fill(&format!("{{{{{}}}}}", "(".repeat(1000))).is_err());
    assert!(fill(&"x".repeat(2 << 20)).is_err());
    assert_eq!(fill("{{pad .Name 999999999 0}}").map(|text| text.len()), Ok(4099));
    assert_eq!(fill("{{printf \"%999999999s\" .Name}}").map(|text| text.len()), Ok(4096));
}

#[test]
fn a_header_passes_through_the_functions() {
    let data = Value::structure(vec![("Name".into(), Value::text("NAMES"))]);
    let template = Template::parse("{{lower .Name}}\t{{.Name | json}}\t{{truncate .Name 1}}").unwrap();
    assert_eq!(template.render(&data, Mode::Header).as_deref(), Ok("NAMES\tNAMES\tNAMES"));
}
