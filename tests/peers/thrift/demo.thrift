// What the end-to-end tests call. Every server answers with its own tag, so that a route can be seen.

namespace py demo
namespace js demo

enum Colour {
  RED = 1,
  GREEN = 2,
}

struct Inner {
  1: required string name,
  2: optional list<Inner> children,
}

// One field of every type.
struct Everything {
  1: bool yes,
  2: i8 tiny,
  3: i16 small,
  4: i32 medium,
  5: i64 large,
  6: double real,
  7: string text,
  8: binary blob,
  9: list<i32> numbers,
  10: set<string> words,
  11: map<string, i64> counts,
  12: map<i32, list<string>> nested,
  13: Inner inner,
  14: Colour colour,
  15: optional string missing,
  200: bool far,
}

exception Boom {
  1: string message,
  2: i32 code,
}

service Demo {
  string tag(),
  i32 add(1: i32 left, 2: i32 right),
  Everything echo(1: Everything value),
  binary bytes(1: binary value),
  void nothing(),
  // Throws Boom, always.
  string boom(1: string message) throws (1: Boom boom),
  // Fails in a way that is not declared, always.
  string broken(1: string message),
  // Answers with the tag, but only after this many milliseconds.
  string slow(1: i32 millis),
  oneway void fire(1: string text),
  // Everything fired since the server started.
  list<string> fired(),
  // The header of that name that came with this call; empty if none did.
  string header(1: string name),
}

service Other {
  string tag(),
}
