// Holds each JSON document of standard input, one a line, against the types that were made of its CRD; prints what is wrong.
// Runs in a folder with the packages, which know nothing of Azure's copies of Prometheus' kinds.
const { createRequire } = require("module");
const installed = createRequire(`${process.cwd()}/`);
const PACKAGES = { "cert-manager.io": "cert-manager", "monitoring.coreos.com": "prometheus-operator" };

for (const line of require("fs").readFileSync(0, "utf8").trim().split("\n")) {
  const told = JSON.parse(line);
  const apiVersion = told.apiVersion.replace("azmonitoring.", "monitoring.");
  const found = PACKAGES[apiVersion.split("/")[0]];
  const Kind = installed(`@kubernetes-models/${found}/${apiVersion}`)[told.kind];
  try {
    new Kind({ ...told, apiVersion }).validate();
  } catch (error) {
    console.log(`${told.kind} ${told.metadata.name}: ${error.message}`);
  }
}
