self.onfetch = e => e.respondWith(new Response("owned"));
