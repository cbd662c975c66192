// What the Thrift client and server in Node share.
'use strict';

const path = require('path');
const thrift = require('thrift');

const generated = path.join(__dirname, 'target', 'gen-nodejs');

module.exports = {
  thrift,
  Demo: require(path.join(generated, 'Demo.js')),
  Other: require(path.join(generated, 'Other.js')),
  types: require(path.join(generated, 'demo_types.js')),
  version: require('thrift/package.json').version,
  transports: { framed: thrift.TFramedTransport, buffered: thrift.TBufferedTransport },
  protocols: {
    binary: thrift.TBinaryProtocol,
    compact: thrift.TCompactProtocol,
    json: thrift.TJSONProtocol,
  },
};
