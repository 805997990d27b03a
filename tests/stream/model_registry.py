"""What the model registry must answer, in plain Python: staged versions, published ones, aliases. Reads no Redis."""

from shared_schemas.ids import JobId
from shared_schemas.job import JobState

from tests.stream.model_jobs import ModelJob


class RegistryModel:
    """staged: of a job, (name, version, attempt, fence). published: of a name, version and the job that made it."""

    def __init__(self, jobs: dict[JobId, ModelJob]) -> None:
        self._jobs = jobs
        self._numbers: dict[str, int] = {}
        self.staged: dict[JobId, tuple[str, int, int, str]] = {}
        self.published: dict[str, dict[int, JobId]] = {}
        self.aliases: dict[tuple[str, str], int] = {}

    def stage(self, name: str, job_id: JobId, fence: str) -> int | None:
        """None: refused."""
        attempt, known = int(fence.split("-")[0]), self.staged.get(job_id)
        if any(job_id in versions.values() for versions in self.published.values()):
            return None
        if known is not None and known[2] > attempt:
            return None
        if known is not None and known[0] == name:
            version = known[1]
        else:
            version = self._numbers[name] = self._numbers.get(name, 0) + 1
        self.staged[job_id] = (name, version, attempt, fence)
        return version

    def publish_settled(self) -> None:
        """What anybody who reads the registry does first."""
        for job_id, (name, version, _, fence) in sorted(self.staged.items()):
            job = self._jobs.get(job_id)
            if job is not None and job.state is JobState.SUCCEEDED and job.settled == fence:
                self.published.setdefault(name, {})[version] = job_id
                self.aliases[name, "latest"] = max(version, self.aliases.get((name, "latest"), 0))
            elif job is not None and (job.state is None or not job.state.is_terminal):
                continue
            del self.staged[job_id]

    def resolve(self, model_id: str) -> tuple[str, int] | None:
        """model_id: a name, name@alias, or a job's id."""
        self.publish_settled()
        for name, versions in self.published.items():
            for version, job_id in versions.items():
                if job_id == model_id:
                    return name, version
        name, _, alias = model_id.partition("@")
        version = self.aliases.get((name, alias or "latest"), 0)
        return (name, version) if version else None

    def delete(self, name: str, version: int) -> str:
        self.publish_settled()
        if version not in self.published.get(name, ()):
            return "not found"
        if any(at == version for (of, alias), at in self.aliases.items() if of == name and alias != "latest"):
            return "in use"
        del self.published[name][version]
        left = max(self.published[name], default=0)
        if self.aliases[name, "latest"] == version:
            self.aliases[name, "latest"] = left
        return "deleted"

    def versions(self, name: str) -> list[int]:
        self.publish_settled()
        return sorted(self.published.get(name, ()), reverse=True)

    def set_alias(self, name: str, alias: str, version: int) -> bool:
        self.publish_settled()
        if version not in self.published.get(name, ()):
            return False
        self.aliases[name, alias] = version
        return True
