# How everything is compiled.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

option(TIDEMILL_PCH "Precompile the headers of the standard library and fmt" ON)

if(PROJECT_IS_TOP_LEVEL)
  find_program(CCACHE ccache)
  if(CCACHE)
    # A precompiled header changes its time stamps with every build; ccache must look at its contents instead.
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
        CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
  endif()
  find_program(MOLD mold)
  if(MOLD)
    add_link_options(-fuse-ld=mold)
  endif()
endif()

# The warnings, and the two that GCC 12 gets wrong in the standard library's own code.
add_library(tidemill_warnings INTERFACE)
target_compile_options(tidemill_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror
  -Wno-error=restrict -Wno-error=maybe-uninitialized)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND TIDEMILL_PCH)
  target_compile_options(tidemill_warnings INTERFACE -fpch-preprocess)  # So that ccache can look inside.
endif()

# -DTIDEMILL_SANITIZE=address,undefined or thread.
set(TIDEMILL_SANITIZE "" CACHE STRING "Sanitizers to build with")
if(TIDEMILL_SANITIZE)
  add_compile_options(-fsanitize=${TIDEMILL_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TIDEMILL_SANITIZE})
endif()
