/** FUSE export driver. */
package io.blockwharf.fuse;
