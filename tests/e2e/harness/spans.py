"""A receiver of traces: OTLP over gRPC, as a collector would be."""

import concurrent.futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services


class Span:
    """A span, as plain values."""

    def __init__(self, raw, resource):
        self.name, self.kind = raw.name, raw.kind
        self.trace, self.id, self.parent = (
            part.hex() for part in (raw.trace_id, raw.span_id, raw.parent_span_id)
        )
        self.seconds = (raw.end_time_unix_nano - raw.start_time_unix_nano) / 1e9
        self.failed = raw.status.code == 2
        self.attributes = values(raw.attributes)
        self.resource = resource

    def __repr__(self):
        return f"<{self.name} {self.trace}/{self.id} of {self.parent or '-'} {self.attributes}>"


def values(pairs):
    found = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        found[pair.key] = getattr(pair.value, kind) if kind else None
    return found


class Collector(services.TraceServiceServicer):
    """Keeps every span that it gets."""

    def __init__(self):
        self.spans = []
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        services.add_TraceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def Export(self, request, context):  # noqa: N802: gRPC's name
        del context
        for of in request.resource_spans:
            resource = values(of.resource.attributes)
            for scope in of.scope_spans:
                self.spans += [Span(span, resource) for span in scope.spans]
        return messages.ExportTraceServiceResponse()

    def close(self):
        self._server.stop(0)
