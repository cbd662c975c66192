// An Apache Thrift client in Node, told what to call by its standard input:
// {"id":1,"op":"open","name":"c","port":9090,"transport":"framed","protocol":"binary","service":null}
// {"id":2,"op":"call","on":"c","method":"add","args":[1,2]}
// {"id":3,"op":"close","on":"c"}
'use strict';

const { serve } = require('./lines.js');
const { thrift, Demo, Other, types, transports, protocols, version } = require('./thrift.js');

const open = new Map();

function connect({ name, port, transport, protocol, service }) {
  return new Promise((resolve, reject) => {
    const connection = thrift.createConnection('127.0.0.1', port, {
      transport: transports[transport],
      protocol: protocols[protocol],
    });
    connection.on('error', reject);
    connection.on('connect', () => {
      const client = service
        ? new thrift.Multiplexer().createClient(service, service === 'Other' ? Other : Demo, connection)
        : thrift.createClient(Demo, connection);
      open.set(name, { connection, client });
      resolve(null);
    });
  });
}

function call({ on, method, args, millis }) {
  const { connection, client } = open.get(on);
  const values = (args || []).map((value, at) =>
    method === 'echo' && at === 0 ? everything(value) : value,
  );
  if (method === 'fire') {
    client.fire(...values, () => {});
    return null;
  }
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('no answer in time')), millis || 10000);
    const done = (how) => (value) => {
      clearTimeout(late);
      how(value);
    };
    // The library tells a call nothing when its connection dies.
    connection.once('close', () => done(reject)(new Error('the connection was closed')));
    client[method](...values, (error, value) => (error ? done(reject)(error) : done(resolve)(value)));
  });
}

function everything(value) {
  return new types.Everything({ ...value, inner: new types.Inner(value.inner) });
}

serve(version, async (command) => {
  switch (command.op) {
    case 'open':
      return connect(command);
    case 'call':
      return call(command);
    case 'close':
      open.get(command.on).connection.end();
      open.delete(command.on);
      return null;
    default:
      throw new Error(`unknown op ${command.op}`);
  }
});
