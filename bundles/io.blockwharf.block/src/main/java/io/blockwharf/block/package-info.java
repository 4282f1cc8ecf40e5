/** Node drivers: file, host_device, raw, null-co, null-aio. */
package io.blockwharf.block;
