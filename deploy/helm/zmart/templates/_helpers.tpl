{{/* What the chart knows about each service: its port, the setting of that port, and the secrets it reads. */}}
{{- define "zmart.table" -}}
gateway: {port: 4000, setting: API_PORT, secrets: [REDIS_URL, HELIUS_RPC_URL, AUTH_TOKEN_SECRET, OPERATOR_TOKEN, HELIUS_API_KEY, HELIUS_WEBHOOK_SECRET, BACKEND_AUTHORITY_PRIVATE_KEY, PINATA_JWT, PINATA_API_KEY, PINATA_SECRET_KEY, OTEL_EXPORTER_OTLP_HEADERS], admin: true}
websocket: {port: 4001, setting: WS_PORT, secrets: [REDIS_URL, OTEL_EXPORTER_OTLP_HEADERS]}
indexer: {port: 4002, setting: INDEXER_PORT, secrets: [HELIUS_RPC_URL, HELIUS_API_KEY, HELIUS_WEBHOOK_SECRET, OTEL_EXPORTER_OTLP_HEADERS]}
aggregator: {port: 4003, setting: AGGREGATOR_PORT, secrets: [REDIS_URL, HELIUS_RPC_URL, BACKEND_AUTHORITY_PRIVATE_KEY, OTEL_EXPORTER_OTLP_HEADERS], admin: true}
monitor: {port: 4004, setting: MONITOR_PORT, secrets: [HELIUS_RPC_URL, BACKEND_AUTHORITY_PRIVATE_KEY, ALERT_WEBHOOK_URL, OTEL_EXPORTER_OTLP_HEADERS]}
snapshots: {port: 4005, setting: SNAPSHOTS_PORT, secrets: [OPERATOR_TOKEN, PINATA_JWT, PINATA_API_KEY, PINATA_SECRET_KEY, OTEL_EXPORTER_OTLP_HEADERS]}
{{- end }}

{{- define "zmart.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "zmart.secret" -}}
{{ .Values.existingSecret | default (include "zmart.name" .) }}
{{- end }}

{{- define "zmart.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "zmart.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "zmart.labels" -}}
{{ include "zmart.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The pod's security: no root, no privileges, nothing to write to. */}}
{{- define "zmart.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "zmart.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* A value as text. Numbers of a file are floats here, which Helm would write as 3.3554432e+07. */}}
{{- define "zmart.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ printf "%.0f" . }}{{ else if not (kindIs "invalid" .) }}{{ . }}{{ end }}
{{- end }}

{{/* Environment entries for secrets: a list of names, of which only DATABASE_URL must be there. */}}
{{- define "zmart.secretEnv" -}}
{{- $secret := .secret -}}
- name: DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: DATABASE_URL}}
{{- range .names }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ . }}, optional: true}}
{{- end }}
{{- end }}
