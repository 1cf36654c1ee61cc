// The peer of start-up: the JavaScript SDK's server with one empty tool.
import { McpServer } from "@modelcontextprotocol/server";
import { StdioServerTransport } from "@modelcontextprotocol/server/stdio";

const server = new McpServer({ name: "bare", version: "1" });
server.registerTool("empty", { description: "Do nothing." }, async () => ({ content: [] }));
await server.connect(new StdioServerTransport());
