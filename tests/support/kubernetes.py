"""The parts of the APIs of JobSet (v1alpha2), Job and Pod that the manifests in launch/ use, as strict classes.

Names, types and allowed values are those of the JobSet project's resource definition of August 2026; a field that is
not here is refused, so that a misspelt one is found. A manifest that needs another field adds it here.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(_Strict):
    name: Annotated[str, Field(pattern=DNS_LABEL, max_length=63)] | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class FieldRef(_Strict):
    fieldPath: str


class ValueFrom(_Strict):
    fieldRef: FieldRef


class Variable(_Strict):
    name: str
    value: str | None = None
    valueFrom: ValueFrom | None = None


class Port(_Strict):
    containerPort: int = Field(gt=0, lt=65536)


class Resources(_Strict):
    limits: dict[str, int | str] = {}
    requests: dict[str, int | str] = {}


class Mount(_Strict):
    name: str
    mountPath: str


class Container(_Strict):
    name: str = Field(pattern=DNS_LABEL)
    image: str = Field(min_length=1)
    command: list[str]
    args: list[str]
    env: list[Variable] = []
    ports: list[Port] = []
    resources: Resources
    volumeMounts: list[Mount]


class Csi(_Strict):
    driver: str
    volumeAttributes: dict[str, str]


class EmptyDir(_Strict):
    medium: Literal["Memory"]


class Volume(_Strict):
    name: str
    csi: Csi | None = None
    emptyDir: EmptyDir | None = None


class PodSpec(_Strict):
    restartPolicy: Literal["Never", "OnFailure"]
    terminationGracePeriodSeconds: int = 30
    shareProcessNamespace: bool = False
    nodeSelector: dict[str, str] = {}
    containers: list[Container]
    volumes: list[Volume]


class PodTemplate(_Strict):
    metadata: Metadata
    spec: PodSpec


class OnExitCodes(_Strict):
    containerName: str
    operator: Literal["In", "NotIn"]
    values: list[int]


class OnPodCondition(_Strict):
    type: str
    status: Literal["True", "False", "Unknown"]


class PodFailureRule(_Strict):
    action: Literal["FailJob", "FailIndex", "Ignore", "Count"]
    onExitCodes: OnExitCodes | None = None
    onPodConditions: list[OnPodCondition] = []


class PodFailurePolicy(_Strict):
    rules: list[PodFailureRule]


class JobSpec(_Strict):
    parallelism: int = 1
    completions: int = 1
    completionMode: Literal["Indexed", "NonIndexed"] = "Indexed"
    """JobSet's own default."""
    backoffLimit: int
    podFailurePolicy: PodFailurePolicy | None = None
    template: PodTemplate


class JobTemplate(_Strict):
    spec: JobSpec


class ReplicatedJob(_Strict):
    name: str = Field(pattern=DNS_LABEL)
    replicas: int = Field(ge=0)
    template: JobTemplate


class FailureRule(_Strict):
    name: str
    action: Literal[
        "FailJobSet",
        "RestartJobSet",
        "RestartJobSetAndIgnoreMaxRestarts",
        "RestartJob",
        "RestartJobAndIgnoreMaxRestarts",
    ]
    onJobFailureReasons: list[
        Literal[
            "BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes", "MaxFailedIndexesExceeded", "PodFailurePolicy"
        ]
    ] = []


class FailurePolicy(_Strict):
    maxRestarts: int
    rules: list[FailureRule] = []


class JobSetSpec(_Strict):
    failurePolicy: FailurePolicy
    replicatedJobs: list[ReplicatedJob]


class JobSet(_Strict):
    apiVersion: Literal["jobset.x-k8s.io/v1alpha2"]
    kind: Literal["JobSet"]
    metadata: Metadata
    spec: JobSetSpec


class Job(_Strict):
    apiVersion: Literal["batch/v1"]
    kind: Literal["Job"]
    metadata: Metadata
    spec: JobSpec


def parse(manifest: Any) -> JobSet | Job:
    """The manifest as one of the two kinds. Raises pydantic's ValidationError for what its API does not have."""
    return (JobSet if manifest.get("kind") == "JobSet" else Job).model_validate(manifest)
