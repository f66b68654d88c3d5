"""The manifests for GKE, as `envsubst` fills them in: their APIs have every field, and their parts fit together."""

import math
import re
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from support.kubernetes import Job, JobSet, JobSpec, PodSpec, parse

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
VALUES = {"NAME": "demo", "IMAGE": "region-docker.pkg.dev/p/r/i:1", "QUEUE": "team", "BUCKET": "my-bucket"}
MANIFESTS = sorted(path.name for path in LAUNCH.glob("gke_*.yaml"))
CHIPS_PER_HOST = 4


def filled(name: str) -> Any:
    """As `envsubst` does with the variables that the manifest's own command names."""
    text = (LAUNCH / name).read_text(encoding="utf-8")
    command = re.search(r"# +NAME=\S+ IMAGE=… QUEUE=… BUCKET=… envsubst '([^']*)' < (\S+) \| kubectl apply", text)
    assert command
    assert command[2] == f"launch/{name}"
    assert command[1].split() == [f"${variable}" for variable in VALUES]
    return yaml.safe_load(Template(text).safe_substitute(VALUES))


def parsed(name: str) -> JobSet | Job:
    return parse(filled(name))


def job_of(manifest: JobSet | Job) -> JobSpec:
    if isinstance(manifest, Job):
        return manifest.spec
    [replicated] = manifest.spec.replicatedJobs
    return replicated.template.spec


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_api_has_every_field_and_the_parts_fit(name: str):
    manifest = parsed(name)
    assert manifest.metadata.labels == {"kueue.x-k8s.io/queue-name": "team"}
    pod = job_of(manifest).template
    [container] = pod.spec.containers
    assert "$" not in re.sub(r"\$\(PROCESS\)", "", str(manifest.model_dump()))
    assert {mount.name for mount in container.volumeMounts} == {volume.name for volume in pod.spec.volumes}
    assert_bucket(pod.metadata.annotations, pod.spec)
    assert container.command[:2] == ["python", "-m"]
    assert [word for word in container.args if word.startswith("/shared/")] == ["/shared/runs/demo"]


def assert_bucket(annotations: dict[str, str], pod: PodSpec) -> None:
    assert annotations == {"gke-gcsfuse/volumes": "true"}
    shared = next(volume.csi for volume in pod.volumes if volume.name == "shared")
    assert shared is not None
    assert shared.driver == "gcsfuse.csi.storage.gke.io"
    assert shared.volumeAttributes["bucketName"] == "my-bucket"
    # By default some machine types never look again at what another host has written.
    assert shared.volumeAttributes["mountOptions"].split(",") == ["implicit-dirs", "metadata-cache:ttl-secs:0"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_python_is_not_process_1_which_sigterm_does_not_end(name: str):
    assert job_of(parsed(name)).template.spec.shareProcessNamespace


@pytest.mark.parametrize("name", ["gke_jobset.yaml", "gke_gpu_jobset.yaml"])
def test_a_lost_host_restarts_all_and_a_saved_one_as_often_as_it_takes(name: str):
    manifest = parsed(name)
    assert isinstance(manifest, JobSet)
    policy = manifest.spec.failurePolicy
    assert policy.maxRestarts == 10
    assert policy.rules[0].action == "RestartJobSetAndIgnoreMaxRestarts"
    assert policy.rules[0].onJobFailureReasons == ["PodFailurePolicy"]
    job = job_of(manifest)
    assert job.backoffLimit == 0
    assert job.parallelism == job.completions
    assert job.podFailurePolicy is not None
    saved, disrupted = job.podFailurePolicy.rules
    assert saved.onExitCodes is not None
    [container] = job.template.spec.containers
    assert (saved.action, saved.onExitCodes.values) == ("FailJob", [75])
    assert saved.onExitCodes.containerName == container.name
    assert (disrupted.action, disrupted.onPodConditions[0].type) == ("FailJob", "DisruptionTarget")
    assert job.template.spec.terminationGracePeriodSeconds >= 300  # runtime/signals.py: GRACE


def test_a_tpu_slice_has_a_pod_for_each_host_and_the_port_of_its_coordinator():
    clusters = pytest.importorskip("jax._src.clusters.cloud_tpu_cluster")
    job = job_of(parsed("gke_jobset.yaml"))
    pod = job.template.spec
    chips = math.prod(map(int, pod.nodeSelector["cloud.google.com/gke-tpu-topology"].split("x")))
    [container] = pod.containers
    assert container.resources.limits == {"google.com/tpu": CHIPS_PER_HOST}
    assert job.parallelism * CHIPS_PER_HOST == chips
    assert container.args[-2:] == ["--distributed", "auto"]
    assert int(clusters.coordinator_port) in [port.containerPort for port in container.ports]


def test_each_gpu_host_is_told_where_process_0_is_and_which_it_is():
    manifest = parsed("gke_gpu_jobset.yaml")
    assert isinstance(manifest, JobSet)
    job = job_of(manifest)
    [container] = job.template.spec.containers
    [replicated] = manifest.spec.replicatedJobs
    option, told = container.args[-2:]
    assert option == "--distributed"
    first = f"{manifest.metadata.name}-{replicated.name}-0-0.{manifest.metadata.name}"
    assert told == f"{first}:{container.ports[0].containerPort},{job.parallelism},$(PROCESS)"
    [process] = [variable for variable in container.env if variable.name == "PROCESS"]
    assert process.valueFrom is not None
    assert "job-completion-index" in process.valueFrom.fieldRef.fieldPath


def test_a_gpu_host_finds_the_driver_or_fails():
    [container] = job_of(parsed("gke_gpu_jobset.yaml")).template.spec.containers
    values = {variable.name: variable.value for variable in container.env}
    assert values["LD_LIBRARY_PATH"] == "/usr/local/nvidia/lib64"
    assert values["JAX_PLATFORMS"] == "cuda"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("spec", "failurePolicy", "maxRestart"), 3),
        (("spec", "replicatedJobs", 0, "replicas"), "1"),
        (("spec", "replicatedJobs", 0, "template", "spec", "backOffLimit"), 0),
        (("apiVersion",), "jobset.x-k8s.io/v1alpha1"),
    ],
)
def test_a_wrong_field_is_found(place: tuple[Any, ...], value: Any):
    manifest = filled("gke_jobset.yaml")
    part = manifest
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    with pytest.raises(ValidationError):
        parse(manifest)
