#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/handler.hpp>
#include <tidemill/retry.hpp>

namespace tidemill {

/// What goes for the tasks of one kind on this worker.
struct KindOptions {
  std::optional<RetryPolicy> retry = {};  ///< None: the worker's.
  /// The work is done elsewhere, as behind a URL, and can't take this process down. Then tasks that a worker
  /// died with run beside each other, and not one at a time, and only the first crash is charged to them.
  bool isolated = false;
};

/// Finds the handler of a task by its kind: an exact one, else the one with the longest matching prefix.
///
/// Build it fully, then share it: const members may be called from any thread.
class Router {
 public:
  /// Adds a middleware around the handlers registered from here on; the first one added is the outermost.
  Router& use(Middleware middleware);

  /// `kind` may end in '*' to match by prefix: handle("image:*", …). Throws Error{invalid} when it is empty,
  /// has a '*' elsewhere, or is taken.
  Router& handle(std::string_view kind, Handler handler, KindOptions options = {});

  /// `f(const T&)` or `f(Context&, const T&)`, returning nothing, an Outcome, or a value that becomes the
  /// result.
  template <Payload T, class F>
  Router& handle(F f, KindOptions options = {}) {
    return handle(T::kind, Handler{[f = std::move(f)](Context& context) mutable {
                    const T payload = Codec<T>::decode(context.task().payload);
                    if constexpr (std::is_invocable_v<F&, Context&, const T&>) {
                      return detail::call(f, context, payload);
                    } else {
                      return detail::call(f, payload);
                    }
                  }},
                  std::move(options));
  }

  struct Route {
    Handler handler;  ///< With its middleware around it.
    KindOptions options;
  };
  /// Null when nothing matches. Valid as long as the router, if that isn't changed.
  const Route* find(std::string_view kind) const noexcept;

 private:
  std::vector<Middleware> middleware_;
  std::map<std::string, Route, std::less<>> exact_;
  std::map<std::string, Route, std::less<>> prefixes_;
};

}  // namespace tidemill
