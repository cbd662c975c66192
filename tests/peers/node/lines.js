// One JSON object per line in, one per line out: how the tests talk to a client in Node.
'use strict';

const readline = require('readline');

// Calls `handle(command)` for every line, at once, and prints {id, value} or {id, error}.
function serve(version, handle) {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', async (line) => {
    const command = JSON.parse(line);
    let answer;
    try {
      const value = await handle(command);
      answer = { id: command.id, value: value === undefined ? null : value };
    } catch (error) {
      answer = { id: command.id, error: describe(error) };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  });
  lines.on('close', () => process.exit(0));
  process.stdout.write(`READY ${version}\n`);
}

function describe(error) {
  return {
    class: error.name || error.constructor.name,
    message: String(error.message),
    code: error.code,
    type: error.type,
  };
}

module.exports = { serve };
