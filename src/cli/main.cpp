#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "cli/app.hpp"

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  // Whoever looks at both streams of a long command sees them in order.
  std::cin.tie(nullptr);
  return tidemill::cli::run(
      std::vector<std::string>(argv + 1, argv + argc),
      {.in = std::cin, .out = std::cout, .err = std::cerr, .terminal = isatty(STDERR_FILENO) == 1});
}
