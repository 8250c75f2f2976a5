"""Decisions about identity and rights. HTTP knows them only through ``hub.deps``."""

from moorage.auth.audit import difference, redact
from moorage.auth.passwords import check_password, hash_password, verify_password
from moorage.auth.rbac import Decision, Principal, Verb, can_see_project, decide
from moorage.auth.throttle import LoginThrottle
from moorage.auth.tokens import (
    EnrolmentToken,
    Token,
    TokenKind,
    csrf_token,
    hash_secret,
    is_csrf_token,
    is_secret,
    new_enrolment_token,
    new_token,
    parse_enrolment_token,
    parse_token,
)

__all__ = [
    "Decision",
    "EnrolmentToken",
    "LoginThrottle",
    "Principal",
    "Token",
    "TokenKind",
    "Verb",
    "can_see_project",
    "check_password",
    "csrf_token",
    "decide",
    "difference",
    "hash_password",
    "hash_secret",
    "is_csrf_token",
    "is_secret",
    "new_enrolment_token",
    "new_token",
    "parse_enrolment_token",
    "parse_token",
    "redact",
    "verify_password",
]
