// ioredis (or its other major version, by its name as argument), told what to do by its standard input:
// {"id":1,"op":"open","name":"c","port":6379,"options":{}}
// {"id":2,"op":"call","on":"c","args":["SET","k","v"]}
// {"id":3,"op":"pipeline","on":"c","commands":[["GET","k"],["GET","l"]]}
// {"id":4,"op":"messages","on":"c"}            what a subscriber has received
// {"id":5,"op":"close","on":"c"}
'use strict';

const library = process.argv[2] || 'ioredis';
const Redis = require(library);
const { serve } = require('./lines.js');

const open = new Map();

async function connect({ name, port, options }) {
  const redis = new Redis({
    host: '127.0.0.1',
    port,
    lazyConnect: true,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
    ...options,
  });
  const messages = [];
  redis.on('error', () => {});
  redis.on('message', (channel, message) => messages.push([channel, message]));
  redis.on('pmessage', (pattern, channel, message) => messages.push([pattern, channel, message]));
  await redis.connect();
  open.set(name, { redis, messages });
}

serve(require(`${library}/package.json`).version, async (command) => {
  if (command.op === 'open') {
    await connect(command);
    return null;
  }
  const { redis, messages } = open.get(command.on);
  switch (command.op) {
    case 'call': {
      const [name, ...args] = command.args;
      return redis.call(name, ...args);
    }
    case 'subscribe':
      return redis.subscribe(...command.channels);
    case 'psubscribe':
      return redis.psubscribe(...command.patterns);
    case 'messages':
      return messages;
    case 'pipeline': {
      const results = await redis.pipeline(command.commands).exec();
      return results.map(([error, value]) => (error ? { error: error.message } : value));
    }
    case 'transaction': {
      const results = await redis.multi(command.commands).exec();
      return results.map(([error, value]) => (error ? { error: error.message } : value));
    }
    case 'close':
      await redis.quit().catch(() => redis.disconnect());
      open.delete(command.on);
      return null;
    default:
      throw new Error(`unknown op ${command.op}`);
  }
});
