#pragma once

#include <memory>
#include <string_view>

#include <tidemill/store.hpp>

namespace tidemill {

/// Whether the URL names a server: http: or https:.
bool is_server_url(std::string_view url) noexcept;

/// A store that is a server: `http://127.0.0.1:8470`,
/// `https://queue.example.com?token_file=/run/secrets/token`. The token is that of the file, else of the
/// environment's TIDEMILL_TOKEN, else none.
///
/// The server sweeps and fires schedules: `sweep` and `schedules` of what is due do nothing here. `wait`
/// returns every 100 ms to claim, and once a second for signals. Locks, documents and others' transactions it
/// has not.
///
/// Throws Error{invalid} for a URL that does not read or a token that is refused, Error{unavailable} when
/// there is no server.
std::unique_ptr<Store> open_server(std::string_view url);

}  // namespace tidemill
