"""What the rules are tried on: for each protocol servers that do as they are told, and a client."""

from .dubbo import Dubbo
from .quill import Quill
from .redis import Redis
from .thrift import Thrift

SUBJECTS = {subject.name: subject for subject in (Dubbo, Thrift, Redis, Quill)}
PROTOCOLS = list(SUBJECTS)
