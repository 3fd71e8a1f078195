// The API reference by Scalar, in place of the plain one. Nothing is loaded from elsewhere.
const at = document.getElementById("reference");
globalThis.Scalar.createApiReference(at, {
  url: at.dataset.url,
  withDefaultFonts: false,
  telemetry: false,
  showDeveloperTools: "never",
  agent: { disabled: true },
  mcp: { disabled: true },
  defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
});
