#include <tidemill/periodic_file.hpp>
#include <tidemill/tidemill.hpp>

int main() {
  const auto store = tidemill::open("sqlite:jobs.db");
  // [periodic]
  tidemill::PeriodicTaskManager manager{*store,
                                        {.provider = [] { return tidemill::read_periodic_file("periodic.yaml"); }}};
  manager.start();  // Throws if the first list is not right; later ones are then logged, and change nothing.
  // [periodic]
}
