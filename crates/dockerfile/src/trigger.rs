//! ONBUILD's triggers: instructions that an image brings along for the build on top of it.

use crate::error::ParseError;
use crate::instruction::Statement;
use crate::{lines, parse};

/// Reads what an image's configuration has under OnBuild. The lines are those within the trigger.
pub fn parse_trigger(text: &str) -> Result<Statement, ParseError> {
    let nodes = lines::split(text, b'\\', 1)?;
    let [node] = &nodes[..] else {
        return Err(ParseError::whole(format!("an ONBUILD trigger is one instruction: {text:?}")));
    };
    parse::check_trigger(&node.keyword, node.lines)?;
    parse::statement(node, b'\\')
}
