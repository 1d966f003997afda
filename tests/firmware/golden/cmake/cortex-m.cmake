# Made by edgekit from 2d-Net 1.2.0-rc.1 for nucleo-f446re, artifact c7c5c1d70c5d: do not edit.
# Toolchain file for bare-metal Cortex-M with GCC: -DCMAKE_TOOLCHAIN_FILE=cmake/cortex-m.cmake -DCPU=cortex-m4
# Your board's start-up code, linker script and C library (--specs=) come in by CMAKE_EXE_LINKER_FLAGS.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES CPU)
set(CPU "cortex-m4" CACHE STRING "as -mcpu of GCC")

set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_CXX_COMPILER arm-none-eabi-g++)
set(float_abi soft)
if(CPU MATCHES "^cortex-m(4|7|33|35p|52|55|85)$")
  set(float_abi hard)
endif()
set(flags "-mcpu=${CPU} -mthumb -mfloat-abi=${float_abi} -ffunction-sections -fdata-sections")
set(CMAKE_C_FLAGS_INIT "${flags}")
set(CMAKE_CXX_FLAGS_INIT "${flags} -fno-exceptions -fno-rtti -fno-threadsafe-statics")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,--gc-sections")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
