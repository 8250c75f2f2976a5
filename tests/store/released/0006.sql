CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0006');
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
INSERT INTO "api_key" VALUES('k1','ci','ann','abababababababababababababababababababababababababababababababab',1767225600000000,NULL,NULL,NULL);
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
	digest TEXT NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (id)
);
INSERT INTO "audit" VALUES(1,1767225600000000,'hub','','create','User','','admin','ok',NULL,'{"password":"[redacted]"}','471c5182f4229db2bc1b54447c71578f449fb6b6206007fa286e7d50c9c16f1e');
INSERT INTO "audit" VALUES(2,1767225600000000,'ann','192.0.2.1','create','Cluster','','demo','ok',NULL,NULL,'e516bc63f8ac4ac6a993122b797ad22297b8df56ddf597e03503db82edc298b5');
INSERT INTO "audit" VALUES(3,1767225600000000,'ann','192.0.2.1','update','Cluster','','demo','ok',NULL,NULL,'20a78e5ddbd1163d05f524d82a5727f0677e92904e800b117ccfdd15f86ee74b');
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
INSERT INTO "event" VALUES('7ead8ad3482b92c65932c92ef77ec84c7d9340084bc07a7a3f09cb28a8a8e4ab','Cluster','default','demo','212b2b89-cd6e-41f9-b93d-e173dec99dfb','Normal','Ready','as it should be',1767225600000000,1767225600000000,1,1);
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
INSERT INTO "password" VALUES('admin','$argon2id$v=19$m=19456,t=2,p=1$vWhcIxWIOchmFt4lWrP3kw$gJlvWofHHBWHVtvITvFGAMF7MfkZ62vfh4lCbgGq7Vo',1767225600000000);
INSERT INTO "password" VALUES('ann','$argon2id$v=19$m=19456,t=2,p=1$KmMa5QNi87gxunQ5qpg5xg$j38uWjcmfgRuPb3v85pVBxqfmkrjRinRZdJgoVsf1vM',1767225600000000);
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
INSERT INTO "resource" VALUES('Project','','default','15a78724-9a57-4dfd-9684-94b0a7cf7a7f','','',1,1,1,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":""}','{"conditions":[],"observedGeneration":0}');
INSERT INTO "resource" VALUES('Role','','tenant-admin','f1c67ae4-b7cc-43d0-9d0e-5a00c0e39591','','',1,2,2,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":"All rights in the whole hub","permissions":["accounts.check","accounts.create","accounts.delete","accounts.get","accounts.list","accounts.update","apikeys.create","apikeys.delete","apikeys.list","assignments.get","assignments.list","audit.list","clusters.create","clusters.delete","clusters.get","clusters.kubeconfig","clusters.list","clusters.update","events.list","gateways.create","gateways.decide","gateways.delete","gateways.enrol","gateways.get","gateways.list","gateways.update","installation.update","ipaddresses.get","ipaddresses.list","ippools.create","ippools.delete","ippools.get","ippools.list","ippools.update","machines.delete","machines.get","machines.list","machines.logs","metrics.get","moves.create","moves.delete","moves.reseal","nodepools.create","nodepools.delete","nodepools.get","nodepools.list","nodepools.update","operations.create","operations.delete","operations.get","operations.list","plans.create","plans.delete","plans.get","plans.list","projects.create","projects.delete","projects.get","projects.list","projects.update","roles.create","roles.delete","roles.get","roles.list","roles.update","secrets.create","secrets.delete","secrets.get","secrets.list","secrets.update","serviceaccounts.create","serviceaccounts.delete","serviceaccounts.get","serviceaccounts.list","serviceaccounts.update","sessions.delete","sessions.list","teams.create","teams.delete","teams.get","teams.list","teams.update","templatereplicas.get","templatereplicas.list","templates.create","templates.delete","templates.get","templates.list","templates.update","users.create","users.delete","users.get","users.list","users.password","users.update"]}','{"conditions":[],"observedGeneration":0,"builtIn":true}');
INSERT INTO "resource" VALUES('Role','','tenant-viewer','fe567b29-72e0-4827-aa72-5e8c5ed717a1','','',1,3,3,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":"Sees everything, users and audit trail too","permissions":["accounts.get","accounts.list","apikeys.list","assignments.get","assignments.list","audit.list","clusters.get","clusters.list","events.list","gateways.get","gateways.list","ipaddresses.get","ipaddresses.list","ippools.get","ippools.list","machines.get","machines.list","metrics.get","nodepools.get","nodepools.list","operations.get","operations.list","plans.get","plans.list","projects.get","projects.list","roles.get","roles.list","secrets.get","secrets.list","serviceaccounts.get","serviceaccounts.list","sessions.list","teams.get","teams.list","templatereplicas.get","templatereplicas.list","templates.get","templates.list","users.get","users.list"]}','{"conditions":[],"observedGeneration":0,"builtIn":true}');
INSERT INTO "resource" VALUES('Role','','project-admin','4d20ae44-95b7-4920-a1e4-ff4008ede04a','','',1,4,4,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":"Everything in projects. For the whole hub also gateways, accounts and IP pools","permissions":["accounts.check","accounts.create","accounts.delete","accounts.get","accounts.list","accounts.update","assignments.get","assignments.list","clusters.create","clusters.delete","clusters.get","clusters.kubeconfig","clusters.list","clusters.update","events.list","gateways.create","gateways.decide","gateways.delete","gateways.enrol","gateways.get","gateways.list","gateways.update","ipaddresses.get","ipaddresses.list","ippools.create","ippools.delete","ippools.get","ippools.list","ippools.update","machines.delete","machines.get","machines.list","machines.logs","metrics.get","nodepools.create","nodepools.delete","nodepools.get","nodepools.list","nodepools.update","operations.create","operations.delete","operations.get","operations.list","plans.create","plans.delete","plans.get","plans.list","projects.get","projects.list","projects.update","secrets.create","secrets.delete","secrets.get","secrets.list","secrets.update","templatereplicas.get","templatereplicas.list","templates.create","templates.delete","templates.get","templates.list","templates.update"]}','{"conditions":[],"observedGeneration":0,"builtIn":true}');
INSERT INTO "resource" VALUES('Role','','project-editor','a6dc738e-990a-4d63-b975-d91e44daebe2','','',1,5,5,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":"Changes what is in projects; no create, no delete","permissions":["accounts.check","accounts.get","accounts.list","accounts.update","assignments.get","assignments.list","clusters.get","clusters.kubeconfig","clusters.list","clusters.update","events.list","gateways.get","gateways.list","gateways.update","ipaddresses.get","ipaddresses.list","ippools.get","ippools.list","ippools.update","machines.delete","machines.get","machines.list","machines.logs","metrics.get","nodepools.get","nodepools.list","nodepools.update","operations.create","operations.delete","operations.get","operations.list","plans.create","plans.delete","plans.get","plans.list","projects.get","projects.list","projects.update","secrets.get","secrets.list","secrets.update","templatereplicas.get","templatereplicas.list","templates.get","templates.list","templates.update"]}','{"conditions":[],"observedGeneration":0,"builtIn":true}');
INSERT INTO "resource" VALUES('Role','','project-viewer','b0653706-5be6-42eb-b7c1-00a7ac19a2d3','','',1,6,6,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":"Sees what is in projects","permissions":["accounts.get","accounts.list","assignments.get","assignments.list","clusters.get","clusters.list","events.list","gateways.get","gateways.list","ipaddresses.get","ipaddresses.list","ippools.get","ippools.list","machines.get","machines.list","metrics.get","nodepools.get","nodepools.list","operations.get","operations.list","plans.get","plans.list","projects.get","projects.list","secrets.get","secrets.list","templatereplicas.get","templatereplicas.list","templates.get","templates.list"]}','{"conditions":[],"observedGeneration":0,"builtIn":true}');
INSERT INTO "resource" VALUES('Role','','cluster-admin','eeb116df-c937-4a50-b07c-03877e43529a','','',1,7,7,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":"Everything about clusters","permissions":["accounts.get","accounts.list","clusters.create","clusters.delete","clusters.get","clusters.kubeconfig","clusters.list","clusters.update","events.list","gateways.get","gateways.list","ippools.get","ippools.list","machines.delete","machines.get","machines.list","machines.logs","nodepools.create","nodepools.delete","nodepools.get","nodepools.list","nodepools.update","operations.create","operations.delete","operations.get","operations.list","plans.create","plans.delete","plans.get","plans.list","templates.get","templates.list"]}','{"conditions":[],"observedGeneration":0,"builtIn":true}');
INSERT INTO "resource" VALUES('Role','','cluster-editor','71f1e34a-6f83-4317-b509-743ce6af6b32','','',1,8,8,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":"Changes clusters; no create, no delete","permissions":["accounts.get","accounts.list","clusters.get","clusters.kubeconfig","clusters.list","clusters.update","events.list","gateways.get","gateways.list","ippools.get","ippools.list","machines.delete","machines.get","machines.list","machines.logs","nodepools.get","nodepools.list","nodepools.update","operations.create","operations.delete","operations.get","operations.list","plans.create","plans.delete","plans.get","plans.list","templates.get","templates.list"]}','{"conditions":[],"observedGeneration":0,"builtIn":true}');
INSERT INTO "resource" VALUES('Role','','cluster-viewer','95e98c04-5943-4e3a-bcd6-8bad7fd6c3a6','','',1,9,9,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":"Sees clusters","permissions":["accounts.get","accounts.list","clusters.get","clusters.list","events.list","gateways.get","gateways.list","ippools.get","ippools.list","machines.get","machines.list","nodepools.get","nodepools.list","operations.get","operations.list","plans.get","plans.list","templates.get","templates.list"]}','{"conditions":[],"observedGeneration":0,"builtIn":true}');
INSERT INTO "resource" VALUES('Role','','account-admin','7a073ea0-78d0-4e38-855d-50e7be6c76fe','','',1,10,10,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":"Everything about cloud accounts and their secrets","permissions":["accounts.check","accounts.create","accounts.delete","accounts.get","accounts.list","accounts.update","gateways.get","gateways.list","operations.create","operations.get","operations.list","secrets.create","secrets.delete","secrets.get","secrets.list","secrets.update"]}','{"conditions":[],"observedGeneration":0,"builtIn":true}');
INSERT INTO "resource" VALUES('Role','','account-editor','5604bc06-af2e-4f0f-8152-e479536187e4','','',1,11,11,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":"Changes cloud accounts and secrets","permissions":["accounts.check","accounts.get","accounts.list","accounts.update","gateways.get","gateways.list","operations.create","operations.get","operations.list","secrets.get","secrets.list","secrets.update"]}','{"conditions":[],"observedGeneration":0,"builtIn":true}');
INSERT INTO "resource" VALUES('Role','','account-viewer','d1ef4077-82d4-4fb4-9bb6-5261dda7a9fa','','',1,12,12,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":"Sees cloud accounts","permissions":["accounts.get","accounts.list"]}','{"conditions":[],"observedGeneration":0,"builtIn":true}');
INSERT INTO "resource" VALUES('User','','admin','45bebbe4-df4b-4e3b-84a7-352b99b5ab0a','','',1,13,13,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"displayName":"First administrator","grants":[{"role":"tenant-admin","project":"*","selector":""}],"disabled":false}','{"conditions":[],"observedGeneration":0}');
INSERT INTO "resource" VALUES('Project','','shop','749f7f1c-2b94-4e7c-a5d0-32418ce236b9','','',1,14,14,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":""}','{"conditions":[],"observedGeneration":0}');
INSERT INTO "resource" VALUES('Gateway','','site-a','f28d359b-2385-4157-a37f-90c890671083','','',1,15,15,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"description":"","dnsMappings":[]}','{"conditions":[],"observedGeneration":0,"enrolled":false,"connected":false,"lastSeenAt":null,"version":null,"publicKey":null,"sealingKey":null,"sealingKeySignature":null,"fingerprint":null,"clusters":0,"movedAway":[]}');
INSERT INTO "resource" VALUES('User','','ann','d4e1e894-63b1-4d42-a86a-24807b247e6b','','',1,16,16,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"displayName":"","grants":[{"role":"cluster-admin","project":"shop","selector":""}],"disabled":false}','{"conditions":[],"observedGeneration":0}');
INSERT INTO "resource" VALUES('IPPool','','nodes','9489c4ce-767c-43e3-b6de-9c15bb1ec582','site-a','',1,17,17,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":1}','{"gateway":"site-a","start":"10.77.1.10","end":"10.77.1.29","ranges":[],"subnet":null,"prefix":16,"router":"10.77.0.1","nameServers":[],"search":[],"exclude":[],"restrictToSingleCluster":false,"holdOffS":0,"probe":false}','{"conditions":[],"observedGeneration":0,"total":0,"claimed":0,"reserved":0,"heldBack":0,"free":0,"clusters":[],"conflicts":[]}');
INSERT INTO "resource" VALUES('Cluster','default','demo','2e086c5a-67af-4c71-b221-cfe1324fb822','site-a','',1,18,18,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":1}','{"account":"lab","kubernetesVersion":"v1.34.4","placement":{"datacenter":"dc1","folder":"clusters","folderPerCluster":false,"vmName":null,"template":"templates/ubuntu-2404-kube-v1.34.4","failureDomains":[{"name":"a","computeCluster":"cc1","resourcePool":null,"datastore":"ds1","datastores":[],"datastoreCluster":null,"storagePolicy":null,"network":"nodes","ipPool":"nodes","ipPools":[],"moreNetworks":[],"nameServers":[],"search":[],"region":"","zone":""},{"name":"b","computeCluster":"cc1","resourcePool":null,"datastore":"ds1","datastores":[],"datastoreCluster":null,"storagePolicy":null,"network":"nodes","ipPool":"nodes","ipPools":[],"moreNetworks":[],"nameServers":[],"search":[],"region":"","zone":""}]},"endpoint":{"type":"VIP","host":null,"searchDomain":null,"ipPool":null,"port":6443,"interface":"eth0"},"network":{"pods":["10.244.0.0/16"],"services":["10.96.0.0/12"],"dnsDomain":"cluster.local"},"controlPlane":{"cpus":2,"memoryMib":4096,"diskGib":null,"extraDisks":[],"cpuAllocation":null,"memoryAllocation":null,"replicas":1,"failureDomains":[],"labels":{},"taints":[],"schedulable":false},"node":{"sshKeys":[],"user":"moorage","ntpServers":[],"registryMirrors":[],"proxy":null,"caCertificates":[],"preKubeadmCommands":[],"postKubeadmCommands":[],"kubeletConfiguration":{},"kubeProxyConfiguration":{},"ignorePreflightErrors":[]},"cloudProvider":"none","keyType":"P256","layers":[{"name":"cni","pack":"flannel","version":null,"values":{}}],"cloneMode":"auto"}','{"conditions":[],"observedGeneration":0,"endpoint":null,"kubernetesVersion":null,"controlPlaneReplicas":0,"controlPlaneReady":0,"nodes":0,"nodesReady":0,"caCertificate":null,"joinOffered":null,"layers":{},"folder":null,"topology":[],"plan":null,"unplaced":[],"timeline":{}}');
INSERT INTO "resource" VALUES('NodePool','default','demo-workers','76579b09-43fe-4852-956a-08ca170e8774','site-a','',1,19,19,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":1}','{"cpus":2,"memoryMib":4096,"diskGib":null,"extraDisks":[],"cpuAllocation":null,"memoryAllocation":null,"replicas":1,"failureDomains":[],"labels":{},"taints":[],"cluster":"demo","pool":"workers"}','{"conditions":[],"observedGeneration":0,"replicas":0,"ready":0}');
INSERT INTO "resource" VALUES('Machine','default','demo-workers-1','0e3a6506-ada5-480c-b980-0ad3d9a6a83c','','',1,20,20,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"cluster":"demo","pool":"workers","role":"worker","bootstrap":"join","account":"lab","kubernetesVersion":"v1.34.4","datacenter":"dc1","folder":"clusters","vmName":null,"template":"templates/ubuntu-2404-kube-v1.34.4","failureDomain":{"name":"a","computeCluster":"cc1","resourcePool":null,"datastore":"ds1","datastores":[],"datastoreCluster":null,"storagePolicy":null,"network":"nodes","ipPool":"nodes","ipPools":[],"moreNetworks":[],"nameServers":[],"search":[],"region":"","zone":""},"host":null,"cloneMode":"auto","cpus":2,"memoryMib":2048,"diskGib":null,"extraDisks":[],"cpuAllocation":null,"memoryAllocation":null,"labels":{},"taints":[]}','{"conditions":[],"observedGeneration":0,"vm":null,"cloneTask":null,"fullClone":"","cloneFailed":false,"offPlan":null,"power":null,"addresses":[],"biosUuid":null,"providerId":null,"nodeName":null,"joinedWith":[],"progress":null,"progressDetail":null,"progressFailed":false,"timeline":{}}');
INSERT INTO "resource" VALUES('Machine','default','demo-workers-2','ae3b2ac8-48f7-40a9-a566-6d53ff6b5734','','',0,21,21,'{}','{"labels":{},"createdAt":"2026-01-01T00:00:00Z","deletionRequestedAt":null,"finalizers":[],"owner":null,"epoch":0}','{"cluster":"demo","pool":"workers","role":"worker","bootstrap":"join","account":"lab","kubernetesVersion":"v1.34.4","datacenter":"dc1","folder":"clusters","vmName":null,"template":"templates/ubuntu-2404-kube-v1.34.4","failureDomain":{"name":"a","computeCluster":"cc1","resourcePool":null,"datastore":"ds1","datastores":[],"datastoreCluster":null,"storagePolicy":null,"network":"nodes","ipPool":"nodes","ipPools":[],"moreNetworks":[],"nameServers":[],"search":[],"region":"","zone":""},"host":null,"cloneMode":"auto","cpus":2,"memoryMib":2048,"diskGib":null,"extraDisks":[],"cpuAllocation":null,"memoryAllocation":null,"labels":{},"taints":[]}','{"conditions":[],"observedGeneration":0,"vm":null,"cloneTask":null,"fullClone":"","cloneFailed":false,"offPlan":null,"power":null,"addresses":[],"biosUuid":null,"providerId":null,"nodeName":null,"joinedWith":[],"progress":null,"progressDetail":null,"progressFailed":false,"timeline":{}}');
CREATE TABLE sequence (
	name TEXT NOT NULL, 
	value BIGINT NOT NULL, 
	CONSTRAINT pk_sequence PRIMARY KEY (name)
);
INSERT INTO "sequence" VALUES('resource',23);
CREATE TABLE session (
	id_hash TEXT NOT NULL, 
	user TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	last_seen_at BIGINT NOT NULL, id TEXT DEFAULT '' NOT NULL, source TEXT DEFAULT '' NOT NULL, agent TEXT DEFAULT '' NOT NULL, method TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_session PRIMARY KEY (id_hash)
);
INSERT INTO "session" VALUES('cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd','ann',1767225600000000,1767268800000000,1767225600000000,'s1','','','');
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
INSERT INTO "tombstone" VALUES('Machine','26f746b2-62b0-402e-9d10-f34818ab666c','default','demo-workers-3','',23,1767225600000000);
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
INSERT INTO "value" VALUES('installation','7ebdde26-a6b5-4250-99f7-3c6134b20153');
INSERT INTO "value" VALUES('incarnation','54dfb63f-8219-41a0-b861-e2292b82f409');
INSERT INTO "value" VALUES('custom','kept');
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
CREATE TRIGGER audit_refuses_UPDATE BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit entries are only ever appended'); END;
CREATE TRIGGER audit_refuses_DELETE BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit entries are only ever appended'); END;
CREATE INDEX ix_event_kind_project_name_number ON event (kind, project, name, number);
CREATE INDEX ix_event_uid_number ON event (uid, number);
CREATE INDEX ix_event_number ON event (number);
CREATE INDEX ix_resource_owner_uid_kind_project_name ON resource (owner_uid, kind, project, name);
CREATE INDEX ix_session_id ON session (id);
