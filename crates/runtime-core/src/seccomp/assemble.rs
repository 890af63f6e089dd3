//! Tables to classic BPF: one block an architecture, in it a binary tree over ranges of numbers.

use super::arch::{Arch, X32_BIT};
use super::rules::{Answer, Comparison, Condition, RET_KILL_THREAD, Table};

/// One instruction (struct sock_filter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub operand: u32,
}

pub const LOAD: u16 = 0x20;
pub const AND: u16 = 0x54;
pub const JUMP: u16 = 0x05;
pub const JUMP_EQUAL: u16 = 0x15;
pub const JUMP_GREATER: u16 = 0x25;
pub const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
pub const RETURN: u16 = 0x06;

/// Offsets into seccomp_data.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

fn jump(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

fn plain(code: u16, operand: u32) -> Instruction {
    jump(code, operand, 0, 0)
}

pub fn program(tables: &[Table]) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD, ARCH)];
    let mut done: Vec<u32> = Vec::new();
    for table in tables {
        let audit = table.arch.audit();
        if done.contains(&audit) {
            continue;
        }
        done.push(audit);
        let mut block = vec![plain(LOAD, NUMBER)];
        block.append(&mut tree(&ranges(tables, table)));
        // Another architecture: over this block.
        program.push(jump(JUMP_EQUAL, audit, 1, 0));
        program.push(plain(JUMP, block.len() as u32));
        program.append(&mut block);
    }
    program.push(plain(RETURN, RET_KILL_THREAD));
    program
}

/// From here on, up to the next range.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    start: u32,
    answer: Answer,
}

fn fixed(otherwise: u32) -> Answer {
    Answer { branches: Vec::new(), otherwise }
}

/// The ranges of an audit architecture; x86_64 and x32 share one and differ by a bit of the number.
fn ranges(tables: &[Table], table: &Table) -> Vec<Range> {
    let mut found = Vec::new();
    let find = |arch: Arch| tables.iter().find(|table| table.arch == arch);
    if matches!(table.arch, Arch::X86_64 | Arch::X32) {
        match find(Arch::X86_64) {
            Some(table) => push_table(&mut found, table, 0),
            None => push(&mut found, 0, fixed(RET_KILL_THREAD)),
        }
        match find(Arch::X32) {
            Some(table) => push_table(&mut found, table, X32_BIT),
            None => push(&mut found, X32_BIT, fixed(RET_KILL_THREAD)),
        }
        // A negative number is no system call but a tracer's word (seccomp(2)): it gets the table's default.
    } else {
        push_table(&mut found, table, 0);
    }
    found
}

fn push_table(found: &mut Vec<Range>, table: &Table, base: u32) {
    push(found, base, fixed(table.default));
    for (number, answer) in &table.answers {
        push(found, *number, answer.clone());
        push(found, number + 1, fixed(table.default));
    }
    if let Some((newest, answer)) = table.newest {
        push(found, newest + 1, fixed(answer));
    }
}

/// Adds a range; neighbours with the same answer grow together.
fn push(found: &mut Vec<Range>, start: u32, answer: Answer) {
    if found.last().is_some_and(|last| last.start == start) {
        found.pop();
    }
    if found.last().is_none_or(|last| last.answer != answer) {
        found.push(Range { start, answer });
    }
}

fn tree(ranges: &[Range]) -> Vec<Instruction> {
    match ranges {
        [] => vec![plain(RETURN, RET_KILL_THREAD)],
        [only] => leaf(&only.answer),
        ranges => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let mut low_code = tree(low);
            let mut high_code = tree(high);
            let border = high[0].start;
            let mut code = match u8::try_from(low_code.len()) {
                Ok(length) => vec![jump(JUMP_GREATER_OR_EQUAL, border, length, 0)],
                Err(_) => vec![jump(JUMP_GREATER_OR_EQUAL, border, 0, 1), plain(JUMP, low_code.len() as u32)],
            };
            code.append(&mut low_code);
            code.append(&mut high_code);
            code
        }
    }
}

fn leaf(answer: &Answer) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (conditions, result) in &answer.branches {
        let mut branch = Vec::new();
        // Backwards, because a condition that fails jumps over all that follow.
        for condition in conditions.iter().rev() {
            let behind = branch.len() + 1;
            let mut test = test(condition, behind);
            test.append(&mut branch);
            branch = test;
        }
        branch.push(plain(RETURN, *result));
        code.append(&mut branch);
    }
    code.push(plain(RETURN, answer.otherwise));
    code
}

/// Falls through when the condition holds, else jumps over `behind` instructions after its own end.
fn test(condition: &Condition, behind: usize) -> Vec<Instruction> {
    let low = ARGUMENTS + condition.index * 8;
    let high = low + 4;
    let (value_low, value_high) = (condition.value as u32, (condition.value >> 32) as u32);
    // A branch has at most six conditions of seven instructions each.
    let out = behind as u8;
    match condition.comparison {
        Comparison::Equal => vec![
            plain(LOAD, high),
            jump(JUMP_EQUAL, value_high, 0, out + 2),
            plain(LOAD, low),
            jump(JUMP_EQUAL, value_low, 0, out),
        ],
        Comparison::NotEqual => vec![
            plain(LOAD, high),
            jump(JUMP_EQUAL, value_high, 0, 2),
            plain(LOAD, low),
            jump(JUMP_EQUAL, value_low, out, 0),
        ],
        Comparison::MaskedEqual { mask } => vec![
            plain(LOAD, high),
            plain(AND, (mask >> 32) as u32),
            jump(JUMP_EQUAL, value_high, 0, out + 3),
            plain(LOAD, low),
            plain(AND, mask as u32),
            jump(JUMP_EQUAL, value_low, 0, out),
        ],
        Comparison::Greater => ordered(low, high, value_low, value_high, JUMP_GREATER, out, true),
        Comparison::GreaterOrEqual => ordered(low, high, value_low, value_high, JUMP_GREATER_OR_EQUAL, out, true),
        Comparison::LessOrEqual => ordered(low, high, value_low, value_high, JUMP_GREATER, out, false),
        Comparison::Less => ordered(low, high, value_low, value_high, JUMP_GREATER_OR_EQUAL, out, false),
    }
}

/// 64-bit order from 32-bit words: the high words decide unless they are equal.
fn ordered(
    low: u32,
    high: u32,
    value_low: u32,
    value_high: u32,
    last: u16,
    out: u8,
    greater: bool,
) -> Vec<Instruction> {
    if greater {
        vec![
            plain(LOAD, high),
            jump(JUMP_GREATER, value_high, 3, 0),
            jump(JUMP_EQUAL, value_high, 0, out + 2),
            plain(LOAD, low),
            jump(last, value_low, 0, out),
        ]
    } else {
        vec![
            plain(LOAD, high),
            jump(JUMP_GREATER, value_high, out + 3, 0),
            jump(JUMP_EQUAL, value_high, 0, 2),
            plain(LOAD, low),
            jump(last, value_low, out, 0),
        ]
    }
}
