{{- define "watchword.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "watchword.selector" -}}
app.kubernetes.io/name: watchword
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "watchword.labels" -}}
{{ include "watchword.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "watchword.image" -}}
{{- if .Values.image.digest -}}
{{ printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end -}}
{{- end -}}

{{/* What the container of a node and that of the job have in common. */}}
{{- define "watchword.container" -}}
image: {{ include "watchword.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: ["ALL"]
env:
  - name: WATCHWORD_SERVER__ISSUER
    value: {{ .Values.issuer | quote }}
  - name: WATCHWORD_SERVER__TRUSTED_PROXIES
    value: {{ join "," .Values.trustedProxies | quote }}
  - name: WATCHWORD_SERVER__WORKERS
    value: {{ .Values.workers | quote }}
  {{- with .Values.allowedHosts }}
  - name: WATCHWORD_SERVER__ALLOWED_HOSTS
    value: {{ join "," . | quote }}
  {{- end }}
  {{- range $name, $value := .Values.settings }}
  - name: WATCHWORD_SERVER__{{ upper $name }}
    value: {{ $value | quote }}
  {{- end }}
  # Kubernetes hands the master key on as systemd would: a file of root's that the pod's group may read.
  - name: CREDENTIALS_DIRECTORY
    value: /run/credentials
  - name: WATCHWORD_SERVER__DATABASE
    valueFrom:
      secretKeyRef:
        name: {{ .Values.database.existingSecret | quote }}
        key: url
  {{- with .Values.cache.existingSecret }}
  - name: WATCHWORD_SERVER__CACHE
    valueFrom:
      secretKeyRef:
        name: {{ . | quote }}
        key: url
  {{- end }}
volumeMounts:
  - name: data
    mountPath: /var/lib/watchword
  - name: temporary
    mountPath: /tmp
  # As a file by itself: the files of a mounted directory would be links, which are refused.
  - name: master-key
    mountPath: /run/credentials/watchword-master-key
    subPath: watchword-master-key
    readOnly: true
{{- end -}}

{{- define "watchword.pod" -}}
serviceAccountName: {{ include "watchword.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: data
    emptyDir: {}
  - name: temporary
    emptyDir:
      medium: Memory
      sizeLimit: 16Mi
  - name: master-key
    secret:
      secretName: {{ .Values.masterKey.existingSecret | quote }}
      defaultMode: 0440
      items:
        - key: watchword-master-key
          path: watchword-master-key
{{- end -}}
