// Runs a fuzz target, LLVMFuzzerTestOneInput, where the compiler has no libFuzzer:
//
//   X_fuzz CORPUS SECONDS     mutates the files of a folder; TIDEMILL_SEED repeats a run
//   X_fuzz FILE               runs one input
//
// Each input is in a file before it runs, so whatever ends the process, a limit on time among it, leaves it
// there.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "process.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t input_max = 64U << 10U;
constexpr unsigned input_seconds_max = 20;

void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

class Mutator {
 public:
  Mutator(std::vector<std::string> seeds, std::uint64_t seed) : seeds_(std::move(seeds)), random_(seed) {}

  std::string next() {
    std::string input = any_seed();
    for (std::size_t rounds = chance(8); rounds > 0; --rounds) mutate(input);
    input.resize(std::min(input.size(), input_max));
    return input;
  }

 private:
  std::size_t chance(std::size_t below) {
    return std::uniform_int_distribution<std::size_t>{0, below - 1}(random_);
  }
  const std::string& any_seed() { return seeds_[chance(seeds_.size())]; }
  std::string any_part(const std::string& text) {
    if (text.empty()) return {};
    const std::size_t begin = chance(text.size());
    return text.substr(begin, 1 + chance(std::min<std::size_t>(text.size() - begin, 64)));
  }
  char any_byte() {
    static constexpr char meaningful[] = "\0\n\r\t \"'\\/{}[]:,#&*!%-+.0189eu\x7f\x80\xc3\xff";
    return chance(2) == 0 ? static_cast<char>(chance(256)) : meaningful[chance(sizeof meaningful)];
  }

  void mutate(std::string& input) {
    const std::size_t at = chance(input.size() + 1);
    switch (chance(6)) {
      case 0:
        input.insert(at, 1, any_byte());
        break;
      case 1:
        if (at < input.size()) input[at] = any_byte();
        break;
      case 2:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ (1 << chance(8)));
        break;
      case 3:
        input.erase(at, 1 + chance(16));
        break;
      case 4:
        input.insert(at, any_part(input));
        break;
      default:
        input.insert(at, any_part(any_seed()));
    }
  }

  std::vector<std::string> seeds_;
  std::mt19937_64 random_;
};

[[noreturn]] void fuzz(Mutator mutator, std::vector<std::string> seeds, const std::string& file,
                       int seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{seconds};
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  std::size_t runs = 0;
  for (; runs < seeds.size() || std::chrono::steady_clock::now() < end; ++runs) {
    const std::string input = runs < seeds.size() ? seeds[runs] : mutator.next();
    const auto size = static_cast<ssize_t>(input.size());
    if (pwrite(fd, input.data(), input.size(), 0) != size || ftruncate(fd, size) != 0) std::exit(3);
    alarm(input_seconds_max);
    run(input);
  }
  fmt::print("{} inputs\n", runs);
  std::exit(0);  // Leaks are looked for on the way out.
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 1) {
    run(tidemill::testing::read_file(arguments[0]));
    return 0;
  }
  if (arguments.size() != 2) return 2;
  std::vector<std::string> seeds;
  for (const auto& file : std::filesystem::directory_iterator{arguments[0]})
    seeds.push_back(tidemill::testing::read_file(file.path()));
  std::sort(seeds.begin(), seeds.end());
  const char* const given = std::getenv("TIDEMILL_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  fmt::print("TIDEMILL_SEED={}\n", seed);
  std::fflush(stdout);
  const std::string file = fmt::format("{}.input", argv[0]);
  const pid_t child = fork();
  if (child == 0) fuzz(Mutator{seeds, seed}, seeds, file, std::stoi(arguments[1]));
  int status = 0;
  waitpid(child, &status, 0);
  if (status == 0) return 0;
  fmt::print("it failed on {} (or leaked before); run it again with: {} {}\n", file, argv[0], file);
  return 1;
}
