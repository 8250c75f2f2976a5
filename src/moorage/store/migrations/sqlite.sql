CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0009');
CREATE TABLE alert (
	id TEXT NOT NULL, 
	rule TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	project TEXT NOT NULL, 
	name TEXT NOT NULL, 
	uid TEXT NOT NULL, 
	cluster TEXT NOT NULL, 
	message TEXT NOT NULL, 
	since BIGINT NOT NULL, 
	last_at BIGINT NOT NULL, 
	times BIGINT NOT NULL, 
	ended_at BIGINT, 
	told INTEGER NOT NULL, 
	acknowledged_by TEXT NOT NULL, 
	acknowledged_at BIGINT, 
	note TEXT NOT NULL, 
	CONSTRAINT pk_alert PRIMARY KEY (id), 
	CONSTRAINT uq_alert_rule_uid UNIQUE (rule, uid)
);
CREATE TABLE api_key (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	user TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT, 
	last_used_at BIGINT, bounds TEXT, 
	CONSTRAINT pk_api_key PRIMARY KEY (id), 
	CONSTRAINT uq_api_key_user_name UNIQUE (user, name), 
	CONSTRAINT uq_api_key_hash UNIQUE (hash)
);
CREATE TABLE audit (
	id INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	actor TEXT NOT NULL, 
	source TEXT NOT NULL, 
	verb TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	project TEXT NOT NULL, 
	name TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	"before" TEXT, 
	"after" TEXT, 
	digest TEXT NOT NULL, previous TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (id)
);
CREATE TABLE audit_checkpoint (
	id BIGINT NOT NULL, 
	at BIGINT NOT NULL, 
	digest TEXT NOT NULL, 
	public_key TEXT NOT NULL, 
	signature TEXT NOT NULL, 
	is_start INTEGER NOT NULL, 
	CONSTRAINT pk_audit_checkpoint PRIMARY KEY (id)
);
CREATE TABLE channel_secret (
	uid TEXT NOT NULL, 
	secret TEXT NOT NULL, 
	CONSTRAINT pk_channel_secret PRIMARY KEY (uid)
);
CREATE TABLE delivery (
	id TEXT NOT NULL, 
	channel_uid TEXT NOT NULL, 
	body TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	due BIGINT, 
	attempts INTEGER NOT NULL, 
	delivered_at BIGINT, 
	answer TEXT NOT NULL, 
	CONSTRAINT pk_delivery PRIMARY KEY (id)
);
CREATE TABLE enrolment_token (
	hash TEXT NOT NULL, 
	gateway TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	used_at BIGINT, 
	used_by TEXT, 
	CONSTRAINT pk_enrolment_token PRIMARY KEY (hash)
);
CREATE TABLE event (
	digest TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	project TEXT NOT NULL, 
	name TEXT NOT NULL, 
	uid TEXT NOT NULL, 
	type TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	message TEXT NOT NULL, 
	first_at BIGINT NOT NULL, 
	last_at BIGINT NOT NULL, 
	times BIGINT NOT NULL, number BIGINT DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_event PRIMARY KEY (digest)
);
CREATE TABLE idempotency (
	user TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	began_at BIGINT NOT NULL, 
	done_at BIGINT, 
	status INTEGER, 
	etag TEXT, 
	answer TEXT, 
	CONSTRAINT pk_idempotency PRIMARY KEY (user, "key")
);
CREATE TABLE login_attempt (
	subject TEXT NOT NULL, 
	failures INTEGER NOT NULL, 
	last_at BIGINT NOT NULL, 
	CONSTRAINT pk_login_attempt PRIMARY KEY (subject)
);
CREATE TABLE password (
	user TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	changed_at BIGINT NOT NULL, 
	CONSTRAINT pk_password PRIMARY KEY (user)
);
CREATE TABLE resource (
	kind TEXT NOT NULL, 
	project TEXT NOT NULL, 
	name TEXT NOT NULL, 
	uid TEXT NOT NULL, 
	route TEXT NOT NULL, 
	owner_uid TEXT NOT NULL, 
	generation BIGINT NOT NULL, 
	resource_version BIGINT NOT NULL, 
	spec_version BIGINT NOT NULL, 
	labels JSON NOT NULL, 
	meta TEXT NOT NULL, 
	spec TEXT NOT NULL, 
	status TEXT NOT NULL, 
	CONSTRAINT pk_resource PRIMARY KEY (kind, uid), 
	CONSTRAINT uq_resource_kind_project_name UNIQUE (kind, project, name)
);
CREATE TABLE sequence (
	name TEXT NOT NULL, 
	value BIGINT NOT NULL, 
	CONSTRAINT pk_sequence PRIMARY KEY (name)
);
INSERT INTO "sequence" VALUES('resource',0);
CREATE TABLE session (
	id_hash TEXT NOT NULL, 
	user TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	last_seen_at BIGINT NOT NULL, id TEXT DEFAULT '' NOT NULL, source TEXT DEFAULT '' NOT NULL, agent TEXT DEFAULT '' NOT NULL, method TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_session PRIMARY KEY (id_hash)
);
CREATE TABLE tombstone (
	kind TEXT NOT NULL, 
	uid TEXT NOT NULL, 
	project TEXT NOT NULL, 
	name TEXT NOT NULL, 
	route TEXT NOT NULL, 
	resource_version BIGINT NOT NULL, 
	at BIGINT NOT NULL, 
	CONSTRAINT pk_tombstone PRIMARY KEY (kind, uid)
);
CREATE TABLE totp (
	user TEXT NOT NULL, 
	secret TEXT NOT NULL, 
	confirmed_at BIGINT, 
	step BIGINT NOT NULL, 
	recovery TEXT NOT NULL, 
	CONSTRAINT pk_totp PRIMARY KEY (user)
);
CREATE TABLE value (
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	CONSTRAINT pk_value PRIMARY KEY (name)
);
CREATE TABLE work (
	controller TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	due BIGINT, 
	attempts INTEGER NOT NULL, 
	token TEXT, 
	ready_at BIGINT NOT NULL, 
	CONSTRAINT pk_work PRIMARY KEY (controller, "key")
);
CREATE INDEX ix_resource_resource_version ON resource (resource_version);
CREATE INDEX ix_resource_route_spec_version ON resource (route, spec_version);
CREATE INDEX ix_tombstone_resource_version ON tombstone (resource_version);
CREATE INDEX ix_work_controller_ready_at ON work (controller, ready_at);
CREATE INDEX ix_session_expires_at ON session (expires_at);
CREATE INDEX ix_session_user ON session (user);
CREATE INDEX ix_enrolment_token_gateway ON enrolment_token (gateway);
CREATE INDEX ix_login_attempt_last_at ON login_attempt (last_at);
CREATE INDEX ix_audit_at ON audit (at);
CREATE INDEX ix_audit_kind_project_name ON audit (kind, project, name);
CREATE INDEX ix_event_last_at ON event (last_at);
CREATE INDEX ix_event_kind_project_name_number ON event (kind, project, name, number);
CREATE INDEX ix_event_uid_number ON event (uid, number);
CREATE INDEX ix_event_number ON event (number);
CREATE INDEX ix_resource_owner_uid_kind_project_name ON resource (owner_uid, kind, project, name);
CREATE INDEX ix_session_id ON session (id);
CREATE TRIGGER audit_refuses_UPDATE BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit entries are only ever appended'); END;
CREATE TRIGGER audit_refuses_DELETE BEFORE DELETE ON audit WHEN OLD.id > COALESCE((SELECT max(id) FROM audit_checkpoint WHERE is_start = 1), 0)
BEGIN SELECT RAISE(ABORT, 'audit entries are only ever appended'); END;
CREATE INDEX ix_idempotency_began_at ON idempotency (began_at);
CREATE INDEX ix_alert_project ON alert (project);
CREATE INDEX ix_delivery_due ON delivery (due);
CREATE INDEX ix_delivery_channel_uid_created_at ON delivery (channel_uid, created_at);
