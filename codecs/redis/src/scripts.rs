//! Scripts that clients have loaded through the proxy. The proxy loads them again on a server that
//! does not have them because it is new or has restarted. It must not depend on connections.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

/// The digest that names a script: the SHA-1 of its text, as 40 hex digits in lower case. The
/// server computes it.
pub(crate) type Digest = [u8; 40];

/// The maximum number of stored scripts, and their maximum total size in bytes. The oldest are
/// dropped first.
const SCRIPTS: usize = 1024;
const BYTES: usize = 8 << 20;

/// Parses a digest. Case is ignored.
pub(crate) fn digest(text: &[u8]) -> Option<Digest> {
    let mut digest: Digest = text.try_into().ok()?;
    digest.make_ascii_lowercase();
    digest.iter().all(u8::is_ascii_hexdigit).then_some(digest)
}

/// The scripts that all connections of a protocol share.
#[derive(Default)]
pub(crate) struct Scripts(RwLock<Shelf>);

#[derive(Default)]
struct Shelf {
    texts: HashMap<Digest, Arc<[u8]>>,
    /// From the oldest to the newest.
    order: VecDeque<Digest>,
    bytes: usize,
}

impl Scripts {
    /// Stores a script that a server has loaded.
    pub(crate) fn keep(&self, digest: Digest, text: &Arc<[u8]>) {
        if text.len() > BYTES {
            return;
        }
        let mut shelf = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if shelf.texts.insert(digest, Arc::clone(text)).is_some() {
            return;
        }
        shelf.order.push_back(digest);
        shelf.bytes += text.len();
        while (shelf.bytes > BYTES || shelf.order.len() > SCRIPTS)
            && let Some(oldest) = shelf.order.pop_front()
        {
            let text = shelf.texts.remove(&oldest);
            shelf.bytes -= text.map_or(0, |text| text.len());
        }
    }

    /// Returns the text of a script, if it is stored.
    pub(crate) fn find(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        let shelf = self.0.read().unwrap_or_else(PoisonError::into_inner);
        shelf.texts.get(digest).cloned()
    }

    /// Removes all scripts.
    pub(crate) fn forget(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Shelf::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(number: usize) -> Digest {
        digest(format!("{number:040x}").as_bytes()).unwrap()
    }

    #[test]
    fn a_script_is_found_by_its_digest_in_any_case() {
        let scripts = Scripts::default();
        let name = digest(&[b'A'; 40]).unwrap();
        scripts.keep(name, &Arc::from(*b"return 1"));
        assert_eq!(scripts.find(&[b'a'; 40]).as_deref(), Some(&b"return 1"[..]));
        scripts.forget();
        assert!(scripts.find(&name).is_none());
        assert!(digest(&[b'x'; 40]).is_none() && digest(b"a").is_none());
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let scripts = Scripts::default();
        for number in 0..SCRIPTS + 3 {
            scripts.keep(named(number), &Arc::from(*b"x"));
            scripts.keep(named(number), &Arc::from(*b"x"));
        }
        assert!(scripts.find(&named(2)).is_none() && scripts.find(&named(3)).is_some());
        let half: Arc<[u8]> = vec![0; BYTES / 2].into();
        for number in 0..3 {
            scripts.keep(named(SCRIPTS * 2 + number), &half);
        }
        assert!(scripts.find(&named(SCRIPTS * 2)).is_none());
        assert!(scripts.find(&named(SCRIPTS * 2 + 2)).is_some());
        scripts.keep(named(7), &vec![0; BYTES + 1].into());
        assert!(scripts.find(&named(7)).is_none());
        assert_eq!(scripts.0.read().unwrap().bytes, BYTES / 2 * 2);
    }
}
