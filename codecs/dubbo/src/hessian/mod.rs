//! Hessian2, as far as a proxy needs it: finds strings and skips all other values, without building
//! them. Hessian 2.0 serialization, <http://hessian.caucho.com/doc/hessian-serialization.html>.

mod scan;
mod string;

pub(crate) use scan::{leaf, skip, skip_type};
pub(crate) use string::{is_exact, plain, put_text, rebuild};

/// The end mark of maps, and of lists without a length.
pub(crate) const END: u8 = b'Z';
/// A map without a type name.
pub(crate) const MAP: u8 = b'H';
/// A map with a type name.
pub(crate) const TYPED_MAP: u8 = b'M';
/// A null.
pub(crate) const NULL: u8 = b'N';
