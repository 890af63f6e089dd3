//! Which devices a container may use: one normalised list, written to v1's `devices.*` files or compiled to v2's BPF program.

use crate::SpecError;
use crate::spec_resources::DeviceRule;
use std::collections::HashSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Any,
    Character,
    Block,
}

/// A rule with its wildcards resolved; access is a set of [`READ`], [`WRITE`], [`MKNOD`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule {
    pub allow: bool,
    pub kind: Kind,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: u8,
}

pub const MKNOD: u8 = 1;
pub const READ: u8 = 2;
pub const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

const fn allow(kind: Kind, major: Option<u32>, minor: Option<u32>, access: u8) -> Rule {
    Rule { allow: true, kind, major, minor, access }
}

/// What every container may use: making any node, the default nodes, terminals (runtime-spec config-linux.md).
pub const DEFAULTS: [Rule; 10] = [
    allow(Kind::Character, None, None, MKNOD),
    allow(Kind::Block, None, None, MKNOD),
    allow(Kind::Character, Some(1), Some(3), ALL),
    allow(Kind::Character, Some(1), Some(5), ALL),
    allow(Kind::Character, Some(1), Some(7), ALL),
    allow(Kind::Character, Some(1), Some(8), ALL),
    allow(Kind::Character, Some(1), Some(9), ALL),
    allow(Kind::Character, Some(5), Some(0), ALL),
    allow(Kind::Character, Some(5), Some(2), ALL),
    allow(Kind::Character, Some(136), None, ALL),
];

/// The rules of a container in order, the defaults last. Everything is denied at first. A rule that is said again is left
/// out where it was said first: the last one decides.
pub fn normalise(rules: &[DeviceRule]) -> Result<Vec<Rule>, SpecError> {
    let mut all =
        rules.iter().map(parse).chain(DEFAULTS.into_iter().map(Ok)).collect::<Result<Vec<Rule>, SpecError>>()?;
    let mut said = HashSet::new();
    all.reverse();
    all.retain(|rule| said.insert(*rule));
    all.reverse();
    Ok(all)
}

/// Whether the rules let everything through, so that nothing has to be set.
pub fn allows_all(rules: &[Rule]) -> bool {
    rules.iter().rfind(|rule| rule.kind == Kind::Any || !rule.allow).is_some_and(|rule| {
        rule.allow && rule.kind == Kind::Any && rule.major.is_none() && rule.minor.is_none() && rule.access == ALL
    })
}

fn parse(rule: &DeviceRule) -> Result<Rule, SpecError> {
    let kind = match rule.kind.as_str() {
        "" | "a" => Kind::Any,
        "c" | "u" => Kind::Character,
        "b" => Kind::Block,
        other => return Err(SpecError::Invalid(format!("device rule has the unknown type {other:?}"))),
    };
    let number = |value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value)
            .map(Some)
            .map_err(|_| SpecError::Invalid(format!("device rule has the invalid number {value}"))),
    };
    let mut access = 0;
    for letter in rule.access.chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            'a' => ALL,
            other => return Err(SpecError::Invalid(format!("device rule has the unknown access {other:?}"))),
        };
    }
    let access = if access == 0 { ALL } else { access };
    Ok(Rule { allow: rule.allow, kind, major: number(rule.major)?, minor: number(rule.minor)?, access })
}

impl Rule {
    /// As v1's `devices.allow` and `devices.deny` take it.
    pub fn v1_text(&self) -> String {
        let kind = match self.kind {
            Kind::Any => return "a".into(),
            Kind::Character => 'c',
            Kind::Block => 'b',
        };
        let number = |value: Option<u32>| value.map_or("*".to_string(), |value| value.to_string());
        format!("{kind} {}:{} {}", number(self.major), number(self.minor), self.access_letters())
    }

    /// `rwm`, or some of them.
    pub fn access_letters(&self) -> String {
        let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        letters.into_iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect()
    }
}

/// One eBPF instruction (bpf(2)), as the kernel lays it out: opcode, registers, offset, immediate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BpfInstruction {
    pub code: u8,
    pub registers: u8,
    pub offset: i16,
    pub immediate: i32,
}

const fn bpf(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> BpfInstruction {
    BpfInstruction { code, registers: destination | source << 4, offset, immediate }
}

const LOAD_WORD: u8 = 0x61;
const MOVE_IMMEDIATE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND_IMMEDIATE: u8 = 0x54;
const RSHIFT_IMMEDIATE: u8 = 0x74;
const JUMP_EQUAL: u8 = 0x16;
const JUMP_NOT_EQUAL: u8 = 0x56;
const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5e;
const EXIT: u8 = 0x95;

/// The program for BPF_CGROUP_DEVICE: the last rule that matches decides, so they are tried from the last to the first.
///
/// Context (struct bpf_cgroup_dev_ctx): access << 16 | type, major, minor. r2 type, r3 access, r4 major, r5 minor.
pub fn v2_program(rules: &[Rule]) -> Vec<BpfInstruction> {
    let mut program = vec![
        bpf(LOAD_WORD, 2, 1, 0, 0),
        bpf(MOVE_REGISTER, 3, 2, 0, 0),
        bpf(AND_IMMEDIATE, 2, 0, 0, 0xffff),
        bpf(RSHIFT_IMMEDIATE, 3, 0, 0, 16),
        bpf(LOAD_WORD, 4, 1, 4, 0),
        bpf(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let mut tests: Vec<BpfInstruction> = Vec::new();
        match rule.kind {
            Kind::Any => {}
            Kind::Block => tests.push(bpf(JUMP_NOT_EQUAL, 2, 0, 0, 1)),
            Kind::Character => tests.push(bpf(JUMP_NOT_EQUAL, 2, 0, 0, 2)),
        }
        if rule.access != ALL && rule.kind != Kind::Any {
            // An allowing rule must cover all that is asked; a denying one any part of it.
            tests.push(bpf(MOVE_REGISTER, 1, 3, 0, 0));
            tests.push(bpf(AND_IMMEDIATE, 1, 0, 0, rule.access.into()));
            tests.push(if rule.allow { bpf(JUMP_NOT_EQUAL_REGISTER, 1, 3, 0, 0) } else { bpf(JUMP_EQUAL, 1, 0, 0, 0) });
        }
        for (register, number) in [(4, rule.major), (5, rule.minor)] {
            if let (Some(number), true) = (number, rule.kind != Kind::Any) {
                tests.push(bpf(JUMP_NOT_EQUAL, register, 0, 0, number as i32));
            }
        }
        let end = tests.len() + 2;
        for (index, instruction) in tests.iter_mut().enumerate() {
            if matches!(instruction.code, JUMP_EQUAL | JUMP_NOT_EQUAL | JUMP_NOT_EQUAL_REGISTER) {
                instruction.offset = (end - index - 1) as i16;
            }
        }
        let unconditional = tests.is_empty();
        program.append(&mut tests);
        program.push(bpf(MOVE_IMMEDIATE, 0, 0, 0, rule.allow.into()));
        program.push(bpf(EXIT, 0, 0, 0, 0));
        if unconditional {
            // The verifier refuses what can never be reached.
            return program;
        }
    }
    program.push(bpf(MOVE_IMMEDIATE, 0, 0, 0, 0));
    program.push(bpf(EXIT, 0, 0, 0, 0));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the few instructions that the compiler emits.
    fn run(program: &[BpfInstruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_u32; 6];
        let mut at = 0;
        loop {
            let i = program[at];
            let (to, from) = ((i.registers & 15) as usize, (i.registers >> 4) as usize);
            at += 1;
            match i.code {
                LOAD_WORD => registers[to] = context[i.offset as usize / 4],
                MOVE_REGISTER => registers[to] = registers[from],
                MOVE_IMMEDIATE => registers[to] = i.immediate as u32,
                AND_IMMEDIATE => registers[to] &= i.immediate as u32,
                RSHIFT_IMMEDIATE => registers[to] >>= i.immediate,
                JUMP_NOT_EQUAL if registers[to] != i.immediate as u32 => at += i.offset as usize,
                JUMP_NOT_EQUAL_REGISTER if registers[to] != registers[from] => at += i.offset as usize,
                JUMP_EQUAL if registers[to] == i.immediate as u32 => at += i.offset as usize,
                JUMP_EQUAL | JUMP_NOT_EQUAL | JUMP_NOT_EQUAL_REGISTER => {}
                EXIT => return registers[0] == 1,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_default_rules_allow_null_and_no_disk() {
        let deny_all = DeviceRule { allow: false, access: "rwm".into(), ..DeviceRule::default() };
        let program = v2_program(&normalise(&[deny_all]).expect("valid"));
        assert!(run(&program, 2, 6, 1, 3), "null for reading and writing");
        assert!(run(&program, 2, 6, 136, 7), "a terminal");
        assert!(run(&program, 1, 1, 8, 0), "making a disk's node");
        assert!(!run(&program, 1, 2, 8, 0), "reading a disk");
        assert!(!run(&program, 1, 3, 8, 0), "making and reading a disk");
    }

    #[test]
    fn of_rules_that_are_said_twice_the_last_one_is_kept() {
        let rule = |allow: bool, minor: i64| DeviceRule {
            allow,
            kind: "c".into(),
            major: Some(1),
            minor: Some(minor),
            access: "rwm".into(),
        };
        let rules = normalise(&[rule(true, 3), rule(false, 9), rule(false, 3), rule(true, 3)]).expect("valid");
        assert_eq!(rules.len(), 2 + DEFAULTS.len());
        assert!(rules[0].minor == Some(9) && rules[1].minor == Some(3) && !rules[1].allow);
        let program = v2_program(&rules);
        assert!(run(&program, 2, 6, 1, 3) && run(&program, 2, 6, 1, 9), "the defaults come last");
    }

    #[test]
    fn a_later_denial_of_writing_leaves_reading() {
        let rule = |allow, access| Rule { allow, kind: Kind::Block, major: Some(8), minor: None, access };
        let program = v2_program(&[rule(true, ALL), rule(false, WRITE)]);
        assert!(run(&program, 1, 2, 8, 0));
        assert!(!run(&program, 1, 4, 8, 0) && !run(&program, 1, 6, 8, 0));
    }

    #[test]
    fn privileged_rules_allow_everything() {
        let rule = DeviceRule { allow: true, access: "rwm".into(), ..DeviceRule::default() };
        let rules = normalise(&[rule]).expect("valid");
        assert!(allows_all(&rules));
        assert!(run(&v2_program(&rules), 1, 6, 8, 0));
    }

    #[test]
    fn rules_are_written_as_v1_reads_them() {
        let rule = Rule { allow: true, kind: Kind::Character, major: Some(10), minor: None, access: READ | WRITE };
        assert_eq!(rule.v1_text(), "c 10:* rw");
    }
}
