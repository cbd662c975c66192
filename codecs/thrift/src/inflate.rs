//! The front of a zlib-compressed payload, in a bounded buffer that a connection reuses. It must
//! not depend on the contents of the payload.

use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

/// The maximum number of inflated bytes of a front. It is enough for the front of a message, and
/// limits a zip bomb.
const FRONT: usize = 4 << 10;

/// The maximum size in bytes of a payload that is inflated whole. A larger payload is not read to
/// its end.
const WHOLE: usize = 1 << 20;

/// Returns the whole inflated `payload`. `None` if it is not a zlib stream with an end, or larger
/// than 1 MiB. Bytes after the end of the stream are ignored, as servers ignore them.
pub(crate) fn whole(payload: &[u8]) -> Option<Vec<u8>> {
    decompress_to_vec_zlib_with_limit(payload, WHOLE).ok()
}

/// Inflates the fronts of payloads. It owns no memory until it is used.
#[derive(Default)]
pub(crate) struct Inflater(Option<Box<State>>);

struct State {
    decompressor: DecompressorOxide,
    front: [u8; FRONT],
}

impl Inflater {
    /// Returns the first bytes of the inflated `payload`, or no bytes if it is not zlib. Damage
    /// after these bytes is not detected.
    pub(crate) fn front(&mut self, payload: &[u8]) -> &[u8] {
        let state = self.0.get_or_insert_with(|| {
            Box::new(State {
                decompressor: DecompressorOxide::new(),
                front: [0; FRONT],
            })
        });
        state.decompressor.init();
        let flags = inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER
            | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let State {
            decompressor,
            front,
        } = &mut **state;
        let (_, _, written) = decompress(decompressor, payload, front, 0, flags);
        front.get(..written).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::deflate::compress_to_vec_zlib;

    #[test]
    fn a_payload_is_inflated_whole_up_to_a_limit() {
        for (length, read) in [
            (0, true),
            (FRONT * 3, true),
            (WHOLE, true),
            (WHOLE + 1, false),
        ] {
            let zipped = compress_to_vec_zlib(&vec![b'x'; length], 6);
            let found = whole(&zipped).map(|bytes| bytes.len());
            assert_eq!(found, read.then_some(length));
            assert_eq!(whole(&zipped[..zipped.len() / 2]), None);
        }
    }

    #[test]
    fn only_the_front_is_inflated() {
        let mut inflater = Inflater::default();
        for length in [0, 5, FRONT, FRONT * 300] {
            let plain = b"thrift!"
                .iter()
                .copied()
                .cycle()
                .take(length)
                .collect::<Vec<_>>();
            let zipped = compress_to_vec_zlib(&plain, 6);
            assert_eq!(inflater.front(&zipped), &plain[..length.min(FRONT)]);
        }
        assert_eq!(inflater.front(b"not zlib"), b"");
        assert_eq!(inflater.front(b""), b"");
    }
}
