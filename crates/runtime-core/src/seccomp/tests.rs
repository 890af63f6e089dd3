use super::assemble::{AND, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_OR_EQUAL, LOAD, RETURN};
use super::rules::{self, Answer, Comparison, Table};
use super::*;
use crate::spec::Seccomp;
use proptest::prelude::*;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

#[derive(Debug, Clone, Copy)]
struct Call {
    audit: u32,
    number: u32,
    args: [u64; 6],
}

/// The kernel's interpreter for the instructions in use; running off the end or reading elsewhere panics.
fn run(program: &[Instruction], call: Call) -> u32 {
    let word = |offset: u32| match offset {
        0 => call.number,
        4 => call.audit,
        offset => {
            let value = call.args[(offset as usize - 16) / 8];
            if offset % 8 == 4 { (value >> 32) as u32 } else { value as u32 }
        }
    };
    let (mut at, mut a) = (0, 0_u32);
    loop {
        let i = program[at];
        at += 1;
        let taken = match i.code {
            LOAD => {
                a = word(i.operand);
                continue;
            }
            AND => {
                a &= i.operand;
                continue;
            }
            JUMP => {
                at += i.operand as usize;
                continue;
            }
            RETURN => return i.operand,
            JUMP_EQUAL => a == i.operand,
            JUMP_GREATER => a > i.operand,
            JUMP_GREATER_OR_EQUAL => a >= i.operand,
            other => panic!("unknown instruction {other:#x}"),
        };
        at += usize::from(if taken { i.jump_true } else { i.jump_false });
    }
}

/// What the tables say, without any compilation.
fn expected(tables: &[Table], call: Call) -> u32 {
    let x32 = call.audit == Arch::X86_64.audit() && call.number & arch::X32_BIT != 0;
    let found = tables.iter().find(|t| t.arch.audit() == call.audit && (t.arch == Arch::X32) == x32);
    let Some(table) = found else { return 0 };
    if let Some((newest, answer)) = table.newest
        && call.number > newest
    {
        return answer;
    }
    let Some(answer) = table.answers.get(&call.number) else { return table.default };
    decide(answer, call)
}

fn decide(answer: &Answer, call: Call) -> u32 {
    for (conditions, result) in &answer.branches {
        let holds = conditions.iter().all(|c| {
            let value = call.args[c.index as usize];
            match c.comparison {
                Comparison::NotEqual => value != c.value,
                Comparison::Less => value < c.value,
                Comparison::LessOrEqual => value <= c.value,
                Comparison::Equal => value == c.value,
                Comparison::GreaterOrEqual => value >= c.value,
                Comparison::Greater => value > c.value,
                Comparison::MaskedEqual { mask } => value & mask == c.value,
            }
        });
        if holds {
            return *result;
        }
    }
    answer.otherwise
}

fn profile(json: &str) -> Seccomp {
    serde_json::from_str(json).expect("a valid profile")
}

fn call(number: u32, args: [u64; 6]) -> Call {
    Call { audit: Arch::X86_64.audit(), number, args }
}

#[test]
fn a_listed_call_is_allowed_and_others_get_the_default_error() {
    let profile = profile(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"syscalls":[{"names":["read","write","statmount"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    let filter = compile(&profile, Arch::X86_64).expect("compiles");
    assert_eq!(run(&filter.program, call(0, [0; 6])), ALLOW);
    assert_eq!(run(&filter.program, call(1, [0; 6])), ALLOW);
    assert_eq!(run(&filter.program, call(2, [0; 6])), ERRNO | 1);
    assert_eq!(run(&filter.program, call(457, [0; 6])), ALLOW);
    assert_eq!(run(&filter.program, call(900, [0; 6])), ERRNO | 38, "newer than the profile");
    assert_eq!(run(&filter.program, call(arch::X32_BIT, [0; 6])), 0, "x32 is not listed");
    assert_eq!(
        run(&filter.program, Call { audit: Arch::X86.audit(), number: 3, args: [0; 6] }),
        0,
        "x86 is not listed"
    );
}

#[test]
fn a_masked_argument_decides_about_clone() {
    let profile = profile(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],
        "syscalls":[{"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#,
    );
    let filter = compile(&profile, Arch::X86_64).expect("compiles");
    assert_eq!(run(&filter.program, call(56, [0x11, 0, 0, 0, 0, 0])), ALLOW);
    assert_eq!(run(&filter.program, call(56, [0x1000_0011, 0, 0, 0, 0, 0])), ERRNO | 1);
    assert_eq!(run(&filter.program, call(56, [1 << 40, 0, 0, 0, 0, 0])), ALLOW);
}

#[test]
fn two_conditions_on_one_argument_are_alternatives() {
    let profile = profile(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[
        {"index":0,"value":0,"op":"SCMP_CMP_EQ"},{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]}]}"#,
    );
    let filter = compile(&profile, Arch::X86_64).expect("compiles");
    assert_eq!(run(&filter.program, call(135, [8, 0, 0, 0, 0, 0])), ALLOW);
    assert_eq!(run(&filter.program, call(135, [0, 0, 0, 0, 0, 0])), ALLOW);
    assert_eq!(run(&filter.program, call(135, [9, 0, 0, 0, 0, 0])), ERRNO | 1);
}

#[test]
fn a_denied_socket_is_denied_through_socketcall_too() {
    let profile = profile(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"syscalls":[{"names":["socket"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}"#,
    );
    let filter = compile(&profile, Arch::X86_64).expect("compiles");
    let x86 = |number, first| Call { audit: Arch::X86.audit(), number, args: [first, 0, 0, 0, 0, 0] };
    assert_eq!(run(&filter.program, x86(359, 2)), ERRNO | 13);
    assert_eq!(run(&filter.program, x86(102, 1)), ERRNO | 13);
    assert_eq!(run(&filter.program, x86(102, 2)), ALLOW);
}

#[test]
fn what_no_filter_can_mean_is_refused() {
    for json in [
        r#"{"defaultAction":"SCMP_ACT_MAYBE"}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_PDP11"]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":70000}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
    ] {
        assert!(compile(&profile(json), Arch::X86_64).is_err(), "{json}");
    }
}

fn argument() -> impl Strategy<Value = String> {
    let ops = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let values = prop_oneof![0..4_u64, Just(u64::MAX), Just(1 << 32), Just((1 << 32) + 1), any::<u64>()];
    (0..3_u32, values.clone(), values, proptest::sample::select(ops.to_vec())).prop_map(|(index, value, two, op)| {
        format!(r#"{{"index":{index},"value":{value},"valueTwo":{two},"op":"SCMP_CMP_{op}"}}"#)
    })
}

fn rule() -> impl Strategy<Value = String> {
    let names =
        ["read", "write", "open", "close", "stat", "clone", "socket", "semop", "openat2", "ioctl", "readv", "mmap"];
    let actions = ["ALLOW", "KILL_PROCESS", "TRAP", "LOG", "ERRNO"];
    (
        proptest::collection::vec(proptest::sample::select(names.to_vec()), 1..5),
        proptest::sample::select(actions.to_vec()),
        proptest::collection::vec(argument(), 0..3),
    )
        .prop_map(|(names, action, args)| {
            format!(r#"{{"names":{names:?},"action":"SCMP_ACT_{action}","args":[{}]}}"#, args.join(","))
        })
}

#[test]
fn a_multiplexed_call_is_no_newer_than_the_newest_that_the_profile_names() {
    let profile = profile(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],
            "syscalls":[{"names":["read","semop"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    let filter = compile(&profile, Arch::X86_64).expect("compiles");
    let call = |number| Call { audit: Arch::X86.audit(), number, args: [1, 0, 0, 0, 0, 0] };
    let (allow, eperm, enosys) = (0x7fff_0000, 0x0005_0001, 0x0005_0026);
    // ipc(2) is 117 on i386, and its first argument 1 is semop.
    assert_eq!([3, 98, 117, 118].map(|number| run(&filter.program, call(number))), [allow, eperm, allow, enosys]);
}

proptest! {
    /// The compiled program answers as the tables do, for every architecture, number and argument.
    #[test]
    fn the_program_means_what_the_tables_say(
        default in proptest::sample::select(vec!["ALLOW", "ERRNO", "KILL"]),
        listed in proptest::collection::vec(proptest::sample::select(vec!["X86_64", "X86", "X32", "AARCH64", "ARM"]), 0..5),
        rules in proptest::collection::vec(rule(), 0..12),
        calls in proptest::collection::vec((0..470_u32, prop_oneof![Just(0_u32), Just(arch::X32_BIT)], 0..4_usize, prop_oneof![0..4_u64, any::<u64>()], 0..4_u64), 64),
    ) {
        let listed: Vec<String> = listed.iter().map(|name| format!("SCMP_ARCH_{name}")).collect();
        let json = format!(r#"{{"defaultAction":"SCMP_ACT_{default}","architectures":{listed:?},"syscalls":[{}]}}"#, rules.join(","));
        let profile = profile(&json);
        let filter = compile(&profile, Arch::X86_64).expect("compiles");
        let mut architectures = vec![Arch::X86_64];
        for name in &listed {
            let arch = Arch::from_name(name).expect("known");
            if !architectures.contains(&arch) {
                architectures.push(arch);
            }
        }
        let tables = rules::resolve(&profile, &architectures).expect("resolves");
        let audits = [Arch::X86_64.audit(), Arch::X86.audit(), Arch::Aarch64.audit(), Arch::Arm.audit()];
        for (number, bit, audit, first, second) in calls {
            let bit = if audit == 0 { bit } else { 0 };
            let call = Call { audit: audits[audit], number: number | bit, args: [first, second, 3, 0, 0, 0] };
            prop_assert_eq!(run(&filter.program, call), expected(&tables, call), "{:?}", call);
        }
    }
}
