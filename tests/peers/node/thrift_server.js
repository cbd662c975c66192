// An Apache Thrift server in Node: `thrift_server.js PORT TAG TRANSPORT PROTOCOL`.
'use strict';

const { thrift, Demo, types, transports, protocols } = require('./thrift.js');

const [port, tag, transport, protocol] = process.argv.slice(2);
const fired = [];

const handler = {
  tag: (result) => result(null, tag),
  add: (left, right, result) => result(null, left + right),
  echo: (value, result) => result(null, value),
  bytes: (value, result) => result(null, value),
  nothing: (result) => result(null),
  boom: (message, result) => result(new types.Boom({ message, code: 42 })),
  broken: (message, result) => result(new Error(message)),
  slow: (millis, result) => setTimeout(() => result(null, tag), millis),
  fire: (text) => fired.push(text),
  fired: (result) => result(null, fired),
  header: (name, result) => result(null, ''),
};

thrift
  .createServer(Demo, handler, { transport: transports[transport], protocol: protocols[protocol] })
  .on('error', (error) => console.error(error))
  .listen(Number(port), '127.0.0.1', () => console.log('READY'));
