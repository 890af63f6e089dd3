//! Netlink messages as bytes: a batch being built, and attributes being read.

/// `NLMSG_ALIGNTO`, netlink(7).
const ALIGN: usize = 4;
/// `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER` are flags above the attribute's type.
const TYPE_MASK: u16 = 0x3fff;
const NESTED: u16 = 0x8000;

pub(crate) const REQUEST: u16 = 0x1;
pub(crate) const ACK: u16 = 0x4;
pub(crate) const DUMP: u16 = 0x300;
pub(crate) const EXCL: u16 = 0x200;
pub(crate) const REPLACE: u16 = 0x100;
pub(crate) const CREATE: u16 = 0x400;

/// Messages that leave with one system call. Each carries the words for the step it performs.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) steps: Vec<String>,
    /// Offset of the message that is being built.
    open: usize,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Begins a message; its sequence number is its place in the batch, from 1.
    pub(crate) fn begin(&mut self, step: String, kind: u16, flags: u16, fixed_header: &[u8]) {
        self.open = self.bytes.len();
        self.steps.push(step);
        let sequence = self.steps.len() as u32;
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.raw(fixed_header);
    }

    /// Ends the message that [`Batch::begin`] began.
    pub(crate) fn end(&mut self) {
        let length = (self.bytes.len() - self.open) as u32;
        self.bytes[self.open..self.open + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Where the message built last begins.
    pub(crate) fn last_message(&self) -> usize {
        self.open
    }

    /// Appends bytes that are no attribute, padded to the alignment.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }

    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.raw(value);
    }

    /// In the host's byte order, as rtnetlink wants it.
    pub(crate) fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// In network byte order, as nftables wants it.
    pub(crate) fn put_be32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    pub(crate) fn put_text(&mut self, kind: u16, text: &str) {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        self.put(kind, &bytes);
    }

    pub(crate) fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0u16.to_ne_bytes());
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        inner(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

/// One attribute of a received message.
#[derive(Debug, Clone, Copy)]
pub struct Attribute<'a> {
    pub kind: u16,
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    pub fn u32(&self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.value.get(..4)?.try_into().ok()?))
    }

    pub fn text(&self) -> Option<&'a str> {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        std::str::from_utf8(&self.value[..end]).ok()
    }
}

/// Walks attributes; stops at the first that claims more than there is.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some(Attribute { kind, value })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_carries_its_length_and_its_place_in_the_batch() {
        let mut batch = Batch::new();
        for step in ["first", "second"] {
            batch.begin(step.to_owned(), 16, ACK, &[0; 4]);
            batch.put_text(3, "eth0");
            batch.end();
        }
        assert_eq!(batch.bytes.len(), 64);
        assert_eq!(batch.bytes[..4], 32u32.to_ne_bytes());
        assert_eq!(batch.bytes[32 + 8..32 + 12], 2u32.to_ne_bytes());
    }

    #[test]
    fn nested_attributes_are_read_back_and_padding_is_skipped() {
        let mut batch = Batch::new();
        batch.nest(18, |batch| {
            batch.put_text(1, "veth");
            batch.put_u32(2, 7);
        });
        let outer: Vec<_> = attributes(&batch.bytes).collect();
        assert_eq!((outer.len(), outer[0].kind), (1, 18));
        let inner: Vec<_> = attributes(outer[0].value).collect();
        assert_eq!((inner[0].text(), inner[1].u32()), (Some("veth"), Some(7)));
    }

    #[test]
    fn an_attribute_longer_than_its_message_ends_the_walk() {
        let mut bytes = 200u16.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&1u16.to_ne_bytes());
        assert_eq!(attributes(&bytes).count(), 0);
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
    }
}
