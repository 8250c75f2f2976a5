"""Decisions about identity and rights. HTTP knows them only through ``hub.deps``."""

from moorage.auth.audit import Verb, difference, redact
from moorage.auth.catalogue import OPERATIONS, PERMISSIONS, RESOURCES, Access, Need, Place, place_of
from moorage.auth.passwords import check_password, hash_password, verify_password
from moorage.auth.quota import WINDOW_S, Left, RequestQuota
from moorage.auth.rights import (
    EVERYWHERE,
    Decision,
    Principal,
    Reach,
    Right,
    decide,
    decide_object,
    needs_labels,
    uncovered,
)
from moorage.auth.roles import BUILT_IN, TENANT_ADMIN
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
from moorage.auth.totp import (
    new_recovery_codes,
    new_totp_secret,
    recovery_hash,
    totp_step,
    totp_uri,
)

__all__ = [
    "BUILT_IN",
    "EVERYWHERE",
    "OPERATIONS",
    "PERMISSIONS",
    "RESOURCES",
    "TENANT_ADMIN",
    "WINDOW_S",
    "Access",
    "Decision",
    "EnrolmentToken",
    "Left",
    "LoginThrottle",
    "Need",
    "Place",
    "Principal",
    "Reach",
    "RequestQuota",
    "Right",
    "Token",
    "TokenKind",
    "Verb",
    "check_password",
    "csrf_token",
    "decide",
    "decide_object",
    "difference",
    "hash_password",
    "hash_secret",
    "is_csrf_token",
    "is_secret",
    "needs_labels",
    "new_enrolment_token",
    "new_recovery_codes",
    "new_token",
    "new_totp_secret",
    "parse_enrolment_token",
    "parse_token",
    "place_of",
    "recovery_hash",
    "redact",
    "totp_step",
    "totp_uri",
    "uncovered",
    "verify_password",
]
