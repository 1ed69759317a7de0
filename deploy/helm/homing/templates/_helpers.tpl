{{/* The name of everything: that of the release, with the chart's in it. */}}
{{- define "homing.name" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of every object; of one that is part of a role: (dict "root" $ "role" "worker"). */}}
{{- define "homing.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "homing.labels" -}}
{{ include "homing.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "homing.secret" -}}
{{- .Values.secrets.existing | default (include "homing.name" .) -}}
{{- end -}}

{{- define "homing.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "homing.name" .) -}}
{{- end -}}

{{/*
A Deployment of one role: (dict "root" $ "role" "worker" "roles" (list …) "values" .Values.worker
"grace" 30 "scaled" false "readiness" "/readyz").

Every container has the role `api`, also where no Service leads to it: it answers the probes and
/metrics.
*/}}
{{- define "homing.deployment" -}}
{{- $root := .root -}}
{{- $name := include "homing.name" $root -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}-{{ .role }}
  labels: {{- include "homing.labels" . | nindent 4 }}
spec:
  {{- if not .scaled }}
  replicas: {{ .values.replicas }}
  {{- end }}
  selector:
    matchLabels: {{- include "homing.selector" . | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  template:
    metadata:
      labels: {{- include "homing.labels" . | nindent 8 }}
      annotations:
        # Settings are read once, at start.
        checksum/settings: {{ printf "%s%s" $root.Values.settings (toJson $root.Values.secrets) | sha256sum }}
        {{- with .values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "homing.serviceAccount" $root }}
      automountServiceAccountToken: false
      # No variables that look like settings.
      enableServiceLinks: false
      # SIGTERM lets what is in flight end; nothing comes twice that ends in this time.
      terminationGracePeriodSeconds: {{ .grace }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        seccompProfile: {type: RuntimeDefault}
      {{- with $root.Values.image.pullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .values.affinity }}
      affinity: {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- include "homing.selector" . | nindent 14 }}
      containers:
        - name: homing
          image: {{ printf "%s:%s" $root.Values.image.repository ($root.Values.image.tag | default $root.Chart.AppVersion) }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args:
            - run
            {{- range .roles }}
            - --role
            - {{ . }}
            {{- end }}
          env:
            - {name: HOMING_CONFIG, value: /etc/homing/homing.toml}
            - {name: HOMING__API__LISTEN, value: "0.0.0.0:8080"}
            - {name: HOMING__WORKER__DRAIN_GRACE, value: {{ printf "%ds" (int $root.Values.worker.drainGraceSeconds) }}}
            {{- range $variable, $key := dict "HOMING__BROKER__URL" "broker-url" "HOMING__STORE__URL" "store-url" "HOMING__STORE__ENCRYPTION_KEYS" "encryption-keys" "HOMING__API__TOKENS" "api-token" }}
            - name: {{ $variable }}
              valueFrom:
                secretKeyRef: {name: {{ include "homing.secret" $root }}, key: {{ $key }}}
            {{- end }}
            {{- with $root.Values.env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- with $root.Values.envFrom }}
          envFrom: {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            - {name: http, containerPort: 8080}
          # The store may have to be brought up to date first.
          startupProbe:
            httpGet: {path: /healthz, port: http}
            periodSeconds: 2
            failureThreshold: 150
          # That the process answers; a broker or a store that is away is no reason to restart it.
          livenessProbe:
            httpGet: {path: /healthz, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: {{ .readiness }}, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
          {{- if .preStop }}
          lifecycle:
            # Until no Service leads here any more.
            preStop:
              exec: {command: [sleep, {{ .preStop | quote }}]}
          {{- end }}
          resources: {{- toYaml .values.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: settings, mountPath: /etc/homing, readOnly: true}
      volumes:
        - name: settings
          configMap: {name: {{ $name }}}
{{- end -}}

{{/* A PodDisruptionBudget of one role, which has more than one replica. */}}
{{- define "homing.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "homing.name" .root }}-{{ .role }}
  labels: {{- include "homing.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "homing.selector" . | nindent 6 }}
{{- end -}}
