// Versions of the guestbook: a repository in Artifacts. git writes them, with the address and the token it gets here; what
// it wrote is read through the binding.
const NAME = "guestbook";

// Where git writes the next version: a new repository, or a new token for the one there is.
export async function openVersions(artifacts) {
  let repo;
  try {
    repo = await artifacts.get(NAME);
  } catch (error) {
    if (error.code !== "NOT_FOUND") throw error;
    const { remote, token } = await artifacts.create(NAME, { description: "Every version of the guestbook" });
    return { remote, token };
  }
  const { remote } = await repo.info();
  const { plaintext } = await repo.createToken("write", 3600);
  return { remote, token: plaintext };
}

export async function readVersions(artifacts) {
  const repo = await artifacts.get(NAME);
  const commits = await repo.log({ limit: 20 });
  const file = commits.length > 0 ? await repo.readFile({ ref: "HEAD", path: "entries.json" }) : null;
  return {
    versions: commits.map(({ hash, message, author, committedAt }) => ({
      hash,
      message,
      author: author.name,
      at: new Date(committedAt * 1000).toISOString(),
    })),
    entries: file ? JSON.parse(await file.text()) : [],
  };
}
